# Completes the commands of paas in fish. Generated from the command tree: `UPDATE=1 cargo test generated` writes it anew.
# The commands are known here; the binary answers for the rest, because it knows the apps of this machine.

function __paas_answer
    set --local token (commandline --current-token)
    set --local answer (COMPLETE=fish command paas -- (commandline --current-process --tokenize --cut-at-cursor) $token 2>/dev/null)
    # Options are for those who begin one, or where there is nothing else.
    if test -z "$token"; and not string match --quiet -- "-*" $answer[1]
        set answer (string match --invert -- "-*" $answer)
    end
    printf '%s\n' $answer
end

complete --command paas --no-files
complete --command paas --keep-order --arguments '(__paas_answer)' \
    --condition 'not __fish_use_subcommand; or string match --quiet -- "-*" (commandline --current-token)'
complete --command paas --condition __fish_use_subcommand --arguments apps:create --description 'Create an app'
complete --command paas --condition __fish_use_subcommand --arguments apps:list --description 'List the apps'
complete --command paas --condition __fish_use_subcommand --arguments apps:info --description 'Show an app: its address, release, containers and status'
complete --command paas --condition __fish_use_subcommand --arguments apps:exists --description 'Tell by the exit code whether an app exists: 0 if it does, 3 if not'
complete --command paas --condition __fish_use_subcommand --arguments apps:set --description 'Set properties of an app: the branch that deploys, what is kept'
complete --command paas --condition __fish_use_subcommand --arguments apps:report --description 'Show the properties of an app: what is set, by whom, and what holds'
complete --command paas --condition __fish_use_subcommand --arguments apps:lock --description 'Lock an app on purpose: nothing changes it until `apps:unlock`'
complete --command paas --condition __fish_use_subcommand --arguments apps:unlock --description 'Let an app that was locked be changed again'
complete --command paas --condition __fish_use_subcommand --arguments apps:destroy --description 'Remove an app with everything that belongs to it'
complete --command paas --condition __fish_use_subcommand --arguments config:show --description 'List an app\'s config variables'
complete --command paas --condition __fish_use_subcommand --arguments config:get --description 'Print the value of a config variable'
complete --command paas --condition __fish_use_subcommand --arguments config:set --description 'Set config variables, and restart the app with them'
complete --command paas --condition __fish_use_subcommand --arguments config:unset --description 'Remove config variables, and restart the app without them'
complete --command paas --condition __fish_use_subcommand --arguments ps:report --description 'Show an app\'s processes: the status of containers, how they run, and properties'
complete --command paas --condition __fish_use_subcommand --arguments ps:scale --description 'Set how many containers each process type has, or show it'
complete --command paas --condition __fish_use_subcommand --arguments ps:stop --description 'Stop an app'
complete --command paas --condition __fish_use_subcommand --arguments ps:start --description 'Start a stopped app'
complete --command paas --condition __fish_use_subcommand --arguments ps:restart --description 'Restart an app without losing a request'
complete --command paas --condition __fish_use_subcommand --arguments ps:rebuild --description 'Build the commit that serves once more, and deploy it'
complete --command paas --condition __fish_use_subcommand --arguments ps:set --description 'Set how processes are run: limits, stop timeout, restart policy'
complete --command paas --condition __fish_use_subcommand --arguments checks:report --description 'Show how an app\'s containers are checked, and what is set about it'
complete --command paas --condition __fish_use_subcommand --arguments checks:run --description 'Check an app\'s containers now'
complete --command paas --condition __fish_use_subcommand --arguments checks:set --description 'Set how an app\'s containers are checked'
complete --command paas --condition __fish_use_subcommand --arguments checks:skip --description 'Check nothing: new containers get their traffic as soon as they run'
complete --command paas --condition __fish_use_subcommand --arguments checks:disable --description 'Stop old containers before new ones start, for apps that cannot run twice'
complete --command paas --condition __fish_use_subcommand --arguments checks:enable --description 'Check new containers before traffic moves to them, which is the default'
complete --command paas --condition __fish_use_subcommand --arguments deploys:list --description 'List an app\'s deploys, newest first'
complete --command paas --condition __fish_use_subcommand --arguments deploys:info --description 'Show a deploy: its states with their times, its source, its outcome'
complete --command paas --condition __fish_use_subcommand --arguments deploys:output --description 'Print the log of a deploy'
complete --command paas --condition __fish_use_subcommand --arguments deploys:follow --description 'Watch a running deploy: its log so far, then new lines'
complete --command paas --condition __fish_use_subcommand --arguments deploys:cancel --description 'Stop a deploy: its build ends; the previous version keeps running'
complete --command paas --condition __fish_use_subcommand --arguments operations:list --description 'List operations, newest first'
complete --command paas --condition __fish_use_subcommand --arguments operations:info --description 'Show an operation: its steps with their times, its outcome'
complete --command paas --condition __fish_use_subcommand --arguments operations:follow --description 'Watch an operation: its log so far, then new lines'
complete --command paas --condition __fish_use_subcommand --arguments operations:cancel --description 'Stop an operation, if it can still be undone'
complete --command paas --condition __fish_use_subcommand --arguments releases:list --description 'List an app\'s releases, newest first'
complete --command paas --condition __fish_use_subcommand --arguments releases:info --description 'Show a release: image, commit, processes, config'
complete --command paas --condition __fish_use_subcommand --arguments releases:rollback --description 'Roll back to an earlier release: its image, its config, its settings'
complete --command paas --condition __fish_use_subcommand --arguments logs --description 'Print what an app\'s processes print'
complete --command paas --condition __fish_use_subcommand --arguments ssh-keys:add --description 'Let the holder of a public key push and run commands'
complete --command paas --condition __fish_use_subcommand --arguments ssh-keys:list --description 'List the public keys that may log in'
complete --command paas --condition __fish_use_subcommand --arguments ssh-keys:remove --description 'Remove a public key, and end its open sessions'
complete --command paas --condition __fish_use_subcommand --arguments settings:list --description 'List the server\'s settings, with where each value is from'
complete --command paas --condition __fish_use_subcommand --arguments settings:set --description 'Set a setting of the server, in its database'
complete --command paas --condition __fish_use_subcommand --arguments settings:unset --description 'Reset a setting of the server to its default'
complete --command paas --condition __fish_use_subcommand --arguments secrets:rotate --description 'Make a new key for the server\'s secrets, and seal everything with it'
complete --command paas --condition __fish_use_subcommand --arguments jobs:list --description 'List the daemon\'s jobs: how each last went, and when it is due next'
complete --command paas --condition __fish_use_subcommand --arguments report --description 'Show the server at a glance: versions, services, free space, builds'
complete --command paas --condition __fish_use_subcommand --arguments events --description 'Show who changed what, when, and by which door'
complete --command paas --condition __fish_use_subcommand --arguments disk --description 'Show what takes space on the server, and how much is left'
complete --command paas --condition __fish_use_subcommand --arguments cleanup --description 'Free space: remove what no app needs any more'
complete --command paas --condition __fish_use_subcommand --arguments backup-db --description 'Copy the database to a file, while it is in use'
complete --command paas --condition __fish_use_subcommand --arguments buildpacks:list --description 'List the buildpacks, in the order in which they are tried'
complete --command paas --condition __fish_use_subcommand --arguments buildpacks:show --description 'Show a buildpack: what it looks for, and the versions it knows'
complete --command paas --condition __fish_use_subcommand --arguments plan --description 'Show how a directory would be built and run'
complete --command paas --condition __fish_use_subcommand --arguments buildpacks:detect --description 'Show which buildpacks match a directory, and why'
complete --command paas --condition __fish_use_subcommand --arguments serve --description 'Run the daemon: SSH server, resolver, Caddy, and what keeps the apps running'
complete --command paas --condition __fish_use_subcommand --arguments restore-db --description 'Put a copy of the database in its place, while the daemon is stopped'
complete --command paas --condition __fish_use_subcommand --arguments completions --description 'Print a completion script for a shell'
