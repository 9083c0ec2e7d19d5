# Completes the commands of paas in bash. Generated from the command tree: `UPDATE=1 cargo test generated` writes it anew.
# The commands are known here; the binary answers for the rest, because it knows the apps of this machine.

_paas_commands='
apps:create
apps:list
apps:info
apps:exists
apps:set
apps:report
apps:lock
apps:unlock
apps:destroy
config:show
config:get
config:keys
config:set
config:unset
config:clear
config:export
config:bundle
config:import
config:edit
config:suggest
config:report
ps:report
ps:scale
ps:stop
ps:start
ps:restart
ps:rebuild
ps:set
checks:report
checks:run
checks:set
checks:skip
checks:disable
checks:enable
cron:list
cron:add
cron:remove
cron:run
cron:history
cron:suspend
cron:resume
domains:report
domains:add
domains:check
domains:remove
domains:set
domains:clear
domains:reset
domains:enable
domains:disable
domains:add-global
domains:remove-global
domains:set-global
domains:clear-global
urls
url
pause
resume
certs:add
certs:generate
certs:renew
certs:report
certs:show
certs:remove
certs:set
redirects:list
redirects:add
redirects:remove
routes:list
routes:info
routes:add
routes:set
routes:enable
routes:disable
routes:remove
ports:list
ports:add
ports:set
ports:remove
ports:clear
ports:report
maintenance:on
maintenance:off
maintenance:report
proxy:report
proxy:set
proxy:enable
proxy:disable
proxy:auth-add
proxy:auth-remove
proxy:path-add
proxy:path-remove
proxy:snippet-set
proxy:snippet-show
proxy:snippet-clear
proxy:show-config
proxy:test
deploys:list
deploys:info
deploys:output
deploys:follow
deploys:cancel
operations:list
operations:info
operations:follow
operations:cancel
releases:list
releases:info
releases:rollback
logs
run
run:detached
run:list
run:logs
run:stop
enter
ssh-keys:add
ssh-keys:list
ssh-keys:remove
settings:list
settings:set
settings:unset
secrets:rotate
jobs:list
report
events
disk
cleanup
backup-db
buildpacks:list
buildpacks:show
plan
buildpacks:detect
serve
restore-db
completions'

_paas() {
	local IFS=$'\n' head=${COMP_LINE:0:COMP_POINT} words=() word blank glued=no index=0
	# Bash splits a line at COMP_WORDBREAKS, where a `:` and a `=` are: put together again what has no blank between.
	for ((; index <= COMP_CWORD; index++)); do
		blank=${head%%[^[:blank:]]*}
		head=${head#"$blank"}
		[[ $index -lt $COMP_CWORD ]] && word=${COMP_WORDS[index]} || word=$head
		head=${head#"$word"}
		if [[ $index -gt 0 && -z $blank && ($word == [:=]* || $glued == yes) ]]; then
			words[${#words[@]} - 1]+=$word
		else
			words+=("$word")
		fi
		[[ $word == *[:=] ]] && glued=yes || glued=no
	done
	local last=$((${#words[@]} - 1))
	local current=${words[last]}

	if [[ $last -eq 1 && $current != -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$_paas_commands" -- "$current")
	else
		mapfile -t COMPREPLY < <(COMPLETE=bash _CLAP_COMPLETE_INDEX=$last "$1" -- "${words[@]}" 2>/dev/null)
		# Options are for those who begin one, or where there is nothing else.
		if [[ -z $current && ${COMPREPLY[0]} != -* ]]; then
			mapfile -t COMPREPLY < <(printf '%s\n' "${COMPREPLY[@]}" | grep -v '^-')
		fi
	fi
	# Only what comes after the last break is replaced.
	COMPREPLY=("${COMPREPLY[@]#"${current%"$2"}"}")
	if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/=] ]]; then
		compopt -o nospace
	fi
}
complete -o bashdefault -o default -F _paas paas
