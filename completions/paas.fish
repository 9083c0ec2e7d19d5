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
complete --command paas --condition __fish_use_subcommand --arguments apps:set --description 'Set a property of an app'
complete --command paas --condition __fish_use_subcommand --arguments apps:lock --description 'Lock an app on purpose: nothing changes it until `apps:unlock`'
complete --command paas --condition __fish_use_subcommand --arguments apps:unlock --description 'Let an app that was locked be changed again'
complete --command paas --condition __fish_use_subcommand --arguments apps:destroy --description 'Remove an app with everything that belongs to it'
complete --command paas --condition __fish_use_subcommand --arguments config:show --description 'List an app\'s config variables'
complete --command paas --condition __fish_use_subcommand --arguments config:get --description 'Print the value of a config variable'
complete --command paas --condition __fish_use_subcommand --arguments config:set --description 'Set config variables, and restart the app with them'
complete --command paas --condition __fish_use_subcommand --arguments config:unset --description 'Remove config variables, and restart the app without them'
complete --command paas --condition __fish_use_subcommand --arguments ps:report --description 'Show an app\'s processes: how each container is, and how each type is run'
complete --command paas --condition __fish_use_subcommand --arguments ps:scale --description 'Set how many containers each process type has, or show it'
complete --command paas --condition __fish_use_subcommand --arguments ps:stop --description 'Stop an app'
complete --command paas --condition __fish_use_subcommand --arguments ps:start --description 'Start a stopped app'
complete --command paas --condition __fish_use_subcommand --arguments ps:restart --description 'Restart an app without losing a request'
complete --command paas --condition __fish_use_subcommand --arguments ps:rebuild --description 'Build the commit that serves once more, and deploy it'
complete --command paas --condition __fish_use_subcommand --arguments ps:set --description 'Set how processes are run: limits, stop timeout, restart policy'
complete --command paas --condition __fish_use_subcommand --arguments checks:report --description 'Show how an app\'s containers are checked'
complete --command paas --condition __fish_use_subcommand --arguments checks:run --description 'Check an app\'s containers now'
complete --command paas --condition __fish_use_subcommand --arguments checks:set --description 'Set how an app\'s containers are checked'
complete --command paas --condition __fish_use_subcommand --arguments checks:skip --description 'Check nothing: new containers get their traffic as soon as they run, unproven'
complete --command paas --condition __fish_use_subcommand --arguments checks:disable --description 'Stop the old containers before the new ones start, for an app of which two cannot run at once'
complete --command paas --condition __fish_use_subcommand --arguments checks:enable --description 'Prove new containers healthy before traffic moves to them, as at first'
complete --command paas --condition __fish_use_subcommand --arguments deploys:list --description 'List an app\'s deploys, newest first'
complete --command paas --condition __fish_use_subcommand --arguments deploys:info --description 'Show a deploy: its states with their times, its source, its outcome'
complete --command paas --condition __fish_use_subcommand --arguments deploys:output --description 'Print the log of a deploy'
complete --command paas --condition __fish_use_subcommand --arguments deploys:follow --description 'Watch a running deploy: its log so far, and what follows'
complete --command paas --condition __fish_use_subcommand --arguments deploys:cancel --description 'Stop a deploy: its build ends, what ran before goes on'
complete --command paas --condition __fish_use_subcommand --arguments operations:list --description 'List operations, newest first'
complete --command paas --condition __fish_use_subcommand --arguments operations:info --description 'Show an operation: its steps with their times, its outcome'
complete --command paas --condition __fish_use_subcommand --arguments operations:follow --description 'Watch an operation: its log so far, and what follows'
complete --command paas --condition __fish_use_subcommand --arguments operations:cancel --description 'Stop an operation, if it can still be undone'
complete --command paas --condition __fish_use_subcommand --arguments releases:list --description 'List an app\'s releases, newest first'
complete --command paas --condition __fish_use_subcommand --arguments releases:info --description 'Show a release: image, commit, processes, config'
complete --command paas --condition __fish_use_subcommand --arguments releases:rollback --description 'Go back to a former release: its image, its config, its settings'
complete --command paas --condition __fish_use_subcommand --arguments logs --description 'Print what an app\'s processes print'
complete --command paas --condition __fish_use_subcommand --arguments ssh-keys:add --description 'Let the holder of a public key push and run commands'
complete --command paas --condition __fish_use_subcommand --arguments ssh-keys:list --description 'List the public keys that may log in'
complete --command paas --condition __fish_use_subcommand --arguments ssh-keys:remove --description 'Take a public key\'s access away, and end its open sessions'
complete --command paas --condition __fish_use_subcommand --arguments jobs:list --description 'List the daemon\'s jobs: how each last went, and when it is due next'
complete --command paas --condition __fish_use_subcommand --arguments report --description 'Show the server in one look: versions, what answers, room, builds'
complete --command paas --condition __fish_use_subcommand --arguments events --description 'Show who changed what, when, and by which door'
complete --command paas --condition __fish_use_subcommand --arguments disk --description 'Show what takes space on the server, and how much is left'
complete --command paas --condition __fish_use_subcommand --arguments cleanup --description 'Free space: remove what no app needs any more'
complete --command paas --condition __fish_use_subcommand --arguments buildpacks:list --description 'List the buildpacks, in the order in which they are tried'
complete --command paas --condition __fish_use_subcommand --arguments buildpacks:show --description 'Show a buildpack: what it looks for, and the versions it knows'
complete --command paas --condition __fish_use_subcommand --arguments plan --description 'Show how a directory would be built and run'
complete --command paas --condition __fish_use_subcommand --arguments buildpacks:detect --description 'Show which buildpacks match a directory, and why'
complete --command paas --condition __fish_use_subcommand --arguments serve --description 'Run the daemon: the SSH server, the resolver, Caddy, and what keeps the apps running'
complete --command paas --condition __fish_use_subcommand --arguments completions --description 'Print a completion script for a shell'
