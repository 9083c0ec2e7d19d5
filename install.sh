#!/usr/bin/env bash
# Installs paas on Debian or Ubuntu, as root. Running it again repairs or upgrades.
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
CONFIG=/etc/paas/config.toml
UNIT=/etc/systemd/system/paas.service
SYSCTL=/etc/sysctl.d/60-paas.conf
FISH=/etc/fish/completions/paas.fish
LOG=/var/log/paas.log # used without systemd
PID_FILE=/run/paas.pid

usage() {
	cat <<-END
		Installs paas: its binary, user and service, and the distribution's Docker, Caddy and git if they are missing.

		usage: ./install.sh [OPTION...]

		  --demo               push a sample app at the end, and show its response
		  --domain DOMAIN      apps are at APP.DOMAIN, with HTTPS for a public domain     [localhost]
		  --key FILE           a public key that may push       [the keys of the user who runs this]
		  --release FILE|URL   install this packed release (tests/release makes one) instead of building with cargo
		  --sha256 CHECKSUM    the release's checksum           [what FILE.sha256 or URL.sha256 says]
		  --binary FILE        install this binary instead of building one with cargo
		  --root DIR           database, repositories, logs     [/var/lib/paas]
		  --prefix DIR         directory for the binary         [/usr/local]
		  --ssh-port PORT      port for git push and commands   [2222]
		  --http-port PORT     HTTP port of Caddy               [80]
		  --https-port PORT    HTTPS port of Caddy              [443]
		  --uninstall          stop and remove paas; keep apps, data and settings
		  --purge              with --uninstall: also delete apps, data and settings

		Options that you leave out keep their values from an earlier run.
	END
}

main() {
	read_options "$@"
	[ "$(id -u)" = 0 ] || die "this must run as root: it installs packages, a user and a service" \
		"sudo $0 $*"
	work=$(mktemp -d)
	trap 'leave "$?" "$BASH_COMMAND"' EXIT

	if [ "$uninstall" = yes ]; then
		uninstall
		return
	fi
	settle_settings
	[ -z "$release" ] || open_release
	install_packages
	check_ports
	find_binary
	start_docker
	make_user
	install_files
	write_config
	tune_kernel
	start_paas
	add_keys
	if [ "$demo" = yes ]; then
		run_demo
	else
		say_what_is_next
	fi
}

# --- Options

demo=no uninstall=no purge=no demo_key=no
domain='' key='' binary='' release='' sha256='' root='' prefix=/usr/local ssh_port='' http_port='' https_port=''

read_options() {
	local option
	while [ $# -gt 0 ]; do
		option=$1
		shift
		case $option in
		--demo) demo=yes ;;
		--uninstall) uninstall=yes ;;
		--purge) purge=yes ;;
		-h | --help) usage && exit 0 ;;
		--*=*) set -- "${option%%=*}" "${option#*=}" "$@" ;;
		--domain | --key | --binary | --release | --sha256 | --root | --prefix | --ssh-port | --http-port | --https-port)
			[ $# -gt 0 ] || usage_error "$option needs a value"
			set_option "$option" "$1"
			shift
			;;
		*) usage_error "there is no option $option" ;;
		esac
	done
	[ -z "$release" ] || [ -z "$binary" ] || usage_error "--release and --binary exclude each other"
	[ -z "$sha256" ] || [ -n "$release" ] || usage_error "--sha256 goes with --release"
	[ "$purge" = no ] || [ "$uninstall" = yes ] || usage_error "--purge goes with --uninstall"
}

set_option() {
	case $1 in
	--domain)
		[[ $2 =~ ^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$ ]] || usage_error "--domain: '$2' is not a domain name"
		domain=$2
		;;
	--key) key=$(existing_file "$1" "$2") ;;
	--binary) binary=$(existing_file "$1" "$2") ;;
	--release)
		case $2 in
		https://* | http://*) release=$2 ;;
		*) release=$(existing_file "$1" "$2") ;;
		esac
		;;
	--sha256)
		[[ $2 =~ ^[0-9a-f]{64}$ ]] || usage_error "--sha256: '$2' does not have 64 hexadecimal digits"
		sha256=$2
		;;
	--root) root=$(absolute_path "$1" "$2") ;;
	--prefix) prefix=$(absolute_path "$1" "$2") ;;
	--ssh-port) ssh_port=$(port "$1" "$2") ;;
	--http-port) http_port=$(port "$1" "$2") ;;
	--https-port) https_port=$(port "$1" "$2") ;;
	esac
}

existing_file() {
	[ -f "$2" ] || usage_error "$1: there is no file $2"
	realpath "$2"
}

# These are written to a unit file and to TOML: no blanks, quotes or percent signs.
absolute_path() {
	[[ $2 =~ ^/[A-Za-z0-9._/-]*[A-Za-z0-9]$ ]] ||
		usage_error "$1: '$2' is not an absolute path made of letters, digits, '.', '_' and '-'"
	realpath -m "$2"
}

port() {
	[[ $2 =~ ^[1-9][0-9]{0,4}$ && $2 -le 65535 ]] || usage_error "$1: '$2' is not a port (1 to 65535)"
	echo "$2"
}

# Precedence: an option, then the value of an earlier run, then the default.
settle_settings() {
	local listen
	listen=$(setting ssh_listen)
	root=${root:-$(setting root)} root=${root:-/var/lib/paas}
	domain=${domain:-$(setting domain)} domain=${domain:-localhost}
	ssh_port=${ssh_port:-${listen##*:}} ssh_port=${ssh_port:-2222}
	http_port=${http_port:-$(setting proxy_http_port)} http_port=${http_port:-80}
	https_port=${https_port:-$(setting proxy_https_port)} https_port=${https_port:-443}
	docker_host=$(setting docker_host) docker_host=${docker_host:-unix:///var/run/docker.sock}
	export DOCKER_HOST=$docker_host
}

# setting KEY: its value in the config file, without quotes
setting() {
	[ ! -f "$CONFIG" ] || sed -n "s/^$1 *= *\"\{0,1\}\([^\"#]*[^\"# ]\).*/\1/p" "$CONFIG"
}

# If another program listens on a port, paas cannot start. After an earlier run the listeners are our own.
check_ports() {
	local taken process
	for taken in "ssh:$ssh_port" "http:$http_port"; do
		process=$(ss -Hltnp "sport = :${taken#*:}" | sed -n '1s/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/\1 \2/p')
		if [ -n "$process" ] && [ "$(stat -c %U "/proc/${process#* }" 2>/dev/null)" != paas ]; then
			die "port ${taken#*:} is in use by ${process% *} (process ${process#* })" \
				"stop it, or choose another port: $0 --${taken%:*}-port PORT"
		fi
	done
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# --- The binary

# Checks a packed release and unpacks it, before anything of it is installed.
open_release() {
	local archive=$release found made_for
	case $release in
	https://* | http://*)
		install_missing curl:curl sha256sum:coreutils
		[ -d /etc/ssl/certs ] || install_missing update-ca-certificates:ca-certificates
		say "fetching $release"
		archive=$work/release.tar.gz
		fetch "$release" "$archive"
		[ -n "$sha256" ] || fetch "$release.sha256" "$archive.sha256"
		;;
	esac
	if [ -z "$sha256" ]; then
		[ -f "$archive.sha256" ] || die "$release has no checksum beside it" \
			"put $(basename "$release").sha256 beside it, or give it: --sha256 CHECKSUM"
		sha256=$(cut -d ' ' -f 1 "$archive.sha256" | head -n 1)
	fi
	found=$(sha256sum "$archive" | cut -d ' ' -f 1)
	[ "$found" = "$sha256" ] || die "$release does not match its checksum: it has $found, not $sha256" \
		"get it again; if that does not help, do not trust it"
	mkdir "$work/release"
	quietly "$release cannot be unpacked" tar -xzf "$archive" -C "$work/release" --strip-components=1 --no-same-owner
	if [ ! -x "$work/release/paas" ] || [ ! -f "$work/release/ARCHITECTURE" ]; then
		die "$release is not a release of paas" "$0 --release FILE    (tests/release makes one)"
	fi
	made_for=$(cat "$work/release/ARCHITECTURE")
	[ "$made_for" = "$(uname -m)" ] || die "$release is for $made_for, and this machine is $(uname -m)" \
		"get the release for $(uname -m)"
	# Its man pages, completions and sample app belong to it.
	HERE=$work/release
	binary=$HERE/paas
}

# fetch URL FILE
fetch() {
	curl -fsSL --max-time 600 --output "$2" "$1" 2>"$work/curl" ||
		die "cannot fetch $1: $(cat "$work/curl")" "check the address, or download it by hand: $0 --release FILE"
}

find_binary() {
	# Beside this script, if it was unpacked from a release by hand.
	if [ -z "$binary" ] && [ -x "$HERE/paas" ]; then
		binary=$HERE/paas
	fi
	if [ -z "$binary" ]; then
		build_binary
		binary=$HERE/target/release/paas
	fi
	"$binary" --version >"$work/version" 2>&1 ||
		die "$binary does not run on this machine: $(tail -n 1 "$work/version")" "$0 --binary FILE (for $(uname -m))"
}

build_binary() {
	local needed builder=() home cargo
	needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$HERE/Cargo.toml")
	home=$(home_of "${SUDO_USER:-root}")
	# Under sudo, the toolchain and the source tree usually belong to the invoking user.
	if [ -n "${SUDO_USER-}" ] && [ "$(stat -c %U "$HERE")" = "$SUDO_USER" ]; then
		builder=(runuser -u "$SUDO_USER" -- env "HOME=$home")
	fi
	if ! find_cargo; then
		install_toolchain
		find_cargo || die "building paas needs cargo $needed or newer, and there is still none" \
			"$0 --release FILE    (tests/release makes one on another machine)"
	fi
	install_missing cc:build-essential
	say "building paas with $("${builder[@]}" "$cargo" --version) (some minutes the first time)"
	# With a PATH, because cargo looks for rustc there.
	"${builder[@]}" env "PATH=$(dirname "$(command -v "$cargo")"):$PATH" \
		"$cargo" build --release --locked --manifest-path "$HERE/Cargo.toml" --target-dir "$HERE/target" ||
		die "paas could not be built, see cargo's message above" \
			"$0 --binary FILE    (with a binary built elsewhere)"
}

# Sets cargo to one that is new enough.
find_cargo() {
	local version
	for cargo in cargo "$home/.cargo/bin/cargo"; do
		version=$("${builder[@]}" "$cargo" --version 2>/dev/null | cut -d ' ' -f 2) || continue
		if [ -n "$version" ] && at_least "$version" "$needed"; then
			return
		fi
	done
	return 1
}

# rustup-init, where the distribution has no rustup: its version, and its checksums.
RUSTUP=1.28.2
rustup_checksum() {
	case $1 in
	x86_64) echo 20a06e644b0d9bd2fbdbfd52d42540bdde820ea7df86e92e533c073da0cdd43c ;;
	aarch64) echo e3853c5a252fca15252d07cb23a1bdd9377a8c6f3efa01531109281ae47f841c ;;
	esac
}

# There is no toolchain that is new enough: gets one for the user who builds, and says so.
install_toolchain() {
	say "building paas needs cargo $needed or newer, which is not here: getting a toolchain with rustup"
	install_missing curl:curl update-ca-certificates:ca-certificates
	if ! command -v rustup >/dev/null && command -v apt-get >/dev/null; then
		apt-get update >/dev/null 2>&1 || true
		# Debian 13 and Ubuntu 24.04 have it, Debian 12 has not.
		if apt-cache policy rustup 2>/dev/null | grep -q 'Candidate: [0-9]'; then
			install_missing rustup:rustup
		fi
	fi
	if command -v rustup >/dev/null; then
		say "rustup toolchain install stable --profile minimal"
		if "${builder[@]}" rustup toolchain install stable --profile minimal >&2; then
			"${builder[@]}" rustup default stable >&2 && return
		fi
		die "rustup could not install a toolchain, see its message above" \
			"$0 --release FILE    (tests/release makes one on another machine)"
	fi
	local machine checksum url
	machine=$(uname -m)
	checksum=$(rustup_checksum "$machine")
	[ -n "$checksum" ] || die "building paas needs cargo $needed or newer, and there is no rustup for $machine here" \
		"install it by hand, or: $0 --release FILE    (tests/release makes one on another machine)"
	url=https://static.rust-lang.org/rustup/archive/$RUSTUP/$machine-unknown-linux-gnu/rustup-init
	say "fetching $url"
	fetch "$url" "$work/rustup-init"
	echo "$checksum  $work/rustup-init" | sha256sum --check --status ||
		die "$url does not match its checksum $checksum" "do not run it; try again, or: $0 --release FILE"
	chmod 755 "$work" "$work/rustup-init"
	say "rustup-init -y --no-modify-path --profile minimal    (into $home/.cargo and $home/.rustup)"
	"${builder[@]}" "$work/rustup-init" -y --quiet --no-modify-path --profile minimal --default-toolchain stable >&2 ||
		die "rustup-init failed, see its message above" "$0 --release FILE    (tests/release makes one on another machine)"
}

# at_least VERSION NEEDED
at_least() { [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; }

# --- Packages, Docker, the user

install_packages() {
	local caddy_is_new=no
	command -v caddy >/dev/null || caddy_is_new=yes
	local wanted=(git:git caddy:caddy curl:curl ssh:openssh-client ss:iproute2 sysctl:procps)
	[ -S "${docker_host#unix://}" ] || wanted+=(dockerd:docker.io)
	install_missing "${wanted[@]}"

	at_least "$(git --version | cut -d ' ' -f 3)" 2.29 ||
		die "$(git --version) is too old: a push needs 2.29" "install a newer git, then run this again"
	# The package starts Caddy with its own page on port 80, but the daemon runs Caddy itself.
	if [ "$caddy_is_new" = yes ] && has_systemd && systemctl disable --now caddy.service 2>/dev/null; then
		say "stopped the caddy.service that came with the package: paas runs Caddy itself"
	fi
}

# install_missing COMMAND:PACKAGE...
install_missing() {
	local pair packages=()
	for pair; do
		command -v "${pair%:*}" >/dev/null || packages+=("${pair#*:}")
	done
	[ ${#packages[@]} -gt 0 ] || return 0
	command -v apt-get >/dev/null || die "${packages[*]} is missing, and this is not Debian or Ubuntu" \
		"install them by hand, then run this again"
	say "installing ${packages[*]}"
	export DEBIAN_FRONTEND=noninteractive
	quietly "cannot fetch the package lists" apt-get update
	quietly "cannot install ${packages[*]}" apt-get install -y "${packages[@]}"
}

start_docker() {
	! docker_answers || return 0
	say "starting Docker"
	local log
	if has_systemd; then
		log="journalctl -u docker -n 50"
		systemctl enable --quiet --now docker.service || die "Docker does not start" "$log"
	elif command -v dockerd >/dev/null; then
		log="less /var/log/dockerd.log"
		setsid dockerd >/var/log/dockerd.log 2>&1 </dev/null &
	else
		die "nothing answers at $docker_host, and there is no dockerd to start" \
			"start Docker, then run this again"
	fi
	wait_for 30 docker_answers || die "Docker does not answer at $docker_host after 30 s" "$log"
}

docker_answers() {
	curl -fsS --max-time 5 --unix-socket "${docker_host#unix://}" http://docker/_ping >/dev/null 2>&1
}

make_user() {
	getent passwd paas >/dev/null ||
		quietly "cannot create the user paas" \
			useradd --system --user-group --home-dir "$root" --no-create-home --shell /usr/sbin/nologin paas
	docker_group=$(stat -L -c %G "${docker_host#unix://}")
	[ "$docker_group" != root ] || die "only root may use $docker_host" \
		"groupadd docker; then restart Docker and run this again"
	# If Docker runs outside this container, the group of its socket may have no name here.
	if [ "$docker_group" = UNKNOWN ]; then
		docker_group=docker-$(stat -L -c %g "${docker_host#unix://}")
		say "groupadd --gid ${docker_group#docker-} $docker_group"
		groupadd --gid "${docker_group#docker-}" "$docker_group"
	fi
	usermod --append --groups "$docker_group" paas

	if [ -d "$root" ] && [ -n "$(ls -A "$root")" ] && [ "$(stat -c %U "$root")" != paas ]; then
		die "$root is not empty and belongs to $(stat -c %U "$root")" "choose another: $0 --root DIR"
	fi
	install -d -o paas -g paas -m 700 "$root" "$root/tmp"
	runuser -u paas -- test -w "$root" || die "the user paas cannot reach $root" \
		"allow access through the directories above it (chmod o+x), or choose another: $0 --root DIR"
}

# --- paas itself

install_files() {
	say "installing $(cat "$work/version") into $prefix"
	install -d "$prefix/bin"
	# Renamed over the old binary, which may be running.
	install -m 755 "$binary" "$prefix/bin/paas.new"
	mv "$prefix/bin/paas.new" "$prefix/bin/paas"

	install_beside "$HERE"/completions/paas.bash bash-completion/completions paas
	install_beside "$HERE"/completions/_paas zsh/site-functions _paas
	# Debian's fish looks for completions in /usr/share and here, not under /usr/local.
	install -D -m 644 "$HERE"/completions/paas.fish "$FISH"
	local page
	for page in "$HERE"/man/*.1; do
		install_beside "$page" man/man1 "${page##*/}"
	done
}

install_beside() {
	[ ! -f "$1" ] || install -D -m 644 "$1" "$prefix/share/$2/$3"
}

# Lines that were added by hand stay.
write_config() {
	install -d -m 755 "${CONFIG%/*}"
	[ -f "$CONFIG" ] || echo "# paas: see \`man paas\`. Restart the service after a change." >"$CONFIG"
	put_setting root "\"$root\""
	put_setting domain "\"$domain\""
	put_setting ssh_listen "\"0.0.0.0:$ssh_port\""
	put_setting proxy_http_port "$http_port"
	put_setting proxy_https_port "$https_port"
	chmod 644 "$CONFIG"
}

put_setting() {
	if grep -q "^$1 *=" "$CONFIG"; then
		sed -i "s|^$1 *=.*|$1 = $2|" "$CONFIG"
	else
		echo "$1 = $2" >>"$CONFIG"
	fi
}

# Keeps waiting connections while Caddy changes its listeners.
tune_kernel() {
	echo "net.ipv4.tcp_migrate_req = 1" >"$SYSCTL"
	sysctl --quiet --load "$SYSCTL" 2>/dev/null ||
		say "this kernel has no net.ipv4.tcp_migrate_req: a reload of Caddy may drop a connection"
}

start_paas() {
	say "starting paas serve"
	if has_systemd; then
		write_unit
		systemctl daemon-reload
		systemctl enable --quiet paas.service
		systemctl restart paas.service || die "paas.service does not start" "$(log_command)"
	else
		say "no systemd here: paas serve runs in the background, and does not start again after a reboot"
		stop_detached
		start_detached
	fi
	wait_for 20 up_or_gone || true
	answers "$ssh_port" || die "paas serve does not answer on port $ssh_port. Its last log lines:

$(last_log_lines)" "$(log_command)"
}

up_or_gone() {
	if answers "$ssh_port"; then
		return
	elif has_systemd; then
		[ "$(systemctl is-active paas.service)" != active ]
	else
		process_is_gone "$(cat "$PID_FILE")"
	fi
}

write_unit() {
	local protect_home=yes
	case $root/:$prefix/ in
	*/home/* | /root/* | *:/root/*) protect_home=read-only ;;
	esac
	sed -e "s|@PREFIX@|$prefix|g" -e "s|@ROOT@|$root|g" \
		-e "s|@DOCKER_GROUP@|$docker_group|g" -e "s|@PROTECT_HOME@|$protect_home|g" \
		"$HERE/templates/paas.service" >"$UNIT"
}

start_detached() {
	local environment=("PATH=$prefix/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
		"HOME=$root" "USER=paas" "LANG=C.UTF-8" "TMPDIR=$root/tmp")
	(
		cd "$root"
		umask 077
		exec env -i "${environment[@]}" setpriv --reuid paas --regid paas --init-groups --no-new-privs \
			--bounding-set -all,+net_bind_service --inh-caps -all,+net_bind_service \
			--ambient-caps -all,+net_bind_service setsid "$prefix/bin/paas" serve
	) >>"$LOG" 2>&1 </dev/null &
	echo $! >"$PID_FILE"
}

stop_detached() {
	local pid
	pid=$(detached_pid) || return 0
	kill "$pid"
	wait_for 20 process_is_gone "$pid" || die "the running paas serve (process $pid) does not stop" "kill -9 $pid"
}

# Fails if none runs. The process id may have been reused by another program.
detached_pid() {
	local pid
	pid=$(cat "$PID_FILE" 2>/dev/null) && [ "$(process_name "$pid")" = paas ] && echo "$pid"
}

process_name() { cat "/proc/$1/comm" 2>/dev/null; }

process_is_gone() { [ ! -e "/proc/$1" ]; }

last_log_lines() {
	if has_systemd; then journalctl -u paas -n 10 --no-pager -o cat; else tail -n 10 "$LOG"; fi
}

log_command() {
	if has_systemd; then echo "journalctl -u paas -n 50"; else echo "less $LOG"; fi
}

# With root's own settings, not those in this shell's environment.
paas() { env -i "PATH=$PATH" "HOME=/root" "LANG=C.UTF-8" "$prefix/bin/paas" "$@"; }

# --- Who may push

keys=0
add_keys() {
	local invoker=${SUDO_USER:-root} home file line
	home=$(home_of "$invoker")
	if [ -n "$key" ]; then
		add_key "$(basename "$key" .pub)" "$(cat "$key")"
		return
	fi
	for file in "$home"/.ssh/*.pub; do
		[ ! -f "$file" ] || add_key "$invoker-$(basename "$file" .pub)" "$(cat "$file")"
	done
	# On a rented server the user's key is in authorized_keys. Lines with options are skipped.
	if [ "$keys" = 0 ] && [ -f "$home/.ssh/authorized_keys" ]; then
		while read -r line; do
			[[ $line =~ ^(ssh-|ecdsa-|sk-) ]] || continue
			add_key "$invoker-$((keys + 1))" "$line"
		done <"$home/.ssh/authorized_keys"
	fi
	[ "$keys" -gt 0 ] || say "$invoker has no public key here, so nobody can push yet"
}

# add_key NAME TEXT
add_key() {
	local fingerprint name=${1//[^A-Za-z0-9._@+-]/-}
	keys=$((keys + 1))
	fingerprint=$(ssh-keygen -l -f - <<<"$2" 2>/dev/null | cut -d ' ' -f 2) || fingerprint=none
	! paas ssh-keys:list </dev/null | grep -qF -- "$fingerprint" || return 0
	paas ssh-keys:add "$name" - <<<"$2" || die "cannot add the key $name, see the reason above" \
		"$prefix/bin/paas ssh-keys:add NAME FILE"
	say "the key $name may push ($fingerprint)"
}

home_of() { getent passwd "$1" | cut -d : -f 6; }

# --- The end

run_demo() {
	say "getting the base image of the sample app"
	"$HERE/tests/base-images" busybox:stable || die "cannot get the base image of the sample app, see the reason above" \
		"$0    (without --demo)"

	# A key for this one push; it is removed at the end.
	ssh-keygen -q -t ed25519 -N '' -C demo -f "$work/key"
	paas ssh-keys:remove demo >/dev/null 2>&1 || true
	demo_key=yes
	paas ssh-keys:add demo - <"$work/key.pub" || die "cannot add the key of the demo, see the reason above" "$0"

	local remote=ssh://paas@127.0.0.1:$ssh_port/demo
	export GIT_SSH_COMMAND="ssh -F none -i $work/key -o IdentitiesOnly=yes -o BatchMode=yes \
-o UserKnownHostsFile=$work/known_hosts -o StrictHostKeyChecking=accept-new -o LogLevel=ERROR"
	export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
	cp -R "$HERE/tests/apps/dockerfile" "$work/demo"
	git -C "$work/demo" init --quiet --initial-branch main
	# On top of the commits of an earlier demo, if there was one.
	if git -C "$work/demo" fetch --quiet "$remote" main 2>/dev/null; then
		git -C "$work/demo" reset --quiet --soft FETCH_HEAD
	fi
	git -C "$work/demo" add --all
	git -C "$work/demo" -c user.name=demo -c user.email=demo@localhost commit --quiet --allow-empty -m "A sample app"
	say "git push $remote main"
	git -C "$work/demo" push "$remote" HEAD:refs/heads/main ||
		die "the push failed, see the reason above" "$(log_command)"
	fetch_demo
}

fetch_demo() {
	local url port answer
	url=$(app_url demo)
	case $url in
	https:*) port=$https_port ;;
	*) port=$http_port ;;
	esac
	local fetch=(curl -fsS --max-time 30 --resolve "demo.$domain:$port:127.0.0.1" "$url")
	if ! answer=$("${fetch[@]}" 2>"$work/curl") && ! answer=$("${fetch[@]}" --insecure 2>"$work/curl"); then
		die "$url does not answer: $(cat "$work/curl")" "check that demo.$domain points to this server, and read the log: $(log_command)"
	fi
	say "fetched $url, the response:"
	echo "$url"
	echo "$answer"
	say "to remove it: paas apps:destroy demo"
}

app_url() {
	local tls
	tls=$(setting tls)
	case ${tls:-default}:$domain in
	off:* | default:localhost | default:*.localhost) echo "http://$1.$domain:$http_port/" | sed 's|:80/$|/|' ;;
	*) echo "https://$1.$domain:$https_port/" | sed 's|:443/$|/|' ;;
	esac
}

say_what_is_next() {
	say "paas is running. In one of your repositories:"
	cat <<-END
		git remote add paas ssh://paas@$domain:$ssh_port/myapp
		git push paas main
		curl $(app_url myapp)
	END
	[ "$keys" -gt 0 ] || say "but first add your key: paas ssh-keys:add NAME FILE"
}

# --- Uninstall

uninstall() {
	settle_settings
	if has_systemd && [ -f "$UNIT" ]; then
		systemctl disable --quiet --now paas.service
		rm -f "$UNIT"
		systemctl daemon-reload
	else
		stop_detached
		rm -f "$PID_FILE"
	fi
	stop_children
	rm -f "$SYSCTL" "$prefix/bin/paas" "$prefix"/share/man/man1/paas{,-*}.1 \
		"$prefix/share/bash-completion/completions/paas" "$prefix/share/zsh/site-functions/_paas" \
		"$FISH"
	say "removed paas from $prefix; Docker, Caddy and git are kept"
	if [ "$purge" = yes ]; then
		purge
	else
		say "kept: $root, $CONFIG, the user paas and the apps' containers (remove them: $0 --uninstall --purge)"
	fi
}

# Caddy, the edge and running deploys outlive the daemon on purpose, but must stop with paas.
stop_children() {
	children | xargs --no-run-if-empty kill 2>/dev/null || true
	wait_for 10 no_children || children | xargs --no-run-if-empty kill -9 2>/dev/null || true
	wait_for 5 no_children || die "processes of the user paas do not stop: $(children | xargs)" "kill -9 $(children | xargs)"
}

# The processes of the user paas, except in containers, where another user may have the same id.
children() {
	local process ours
	getent passwd paas >/dev/null || return 0
	ours=$(readlink /proc/self/ns/pid)
	for process in /proc/[0-9]*; do
		[ "$(stat -c %U "$process" 2>/dev/null)" = paas ] || continue
		[ "$(readlink "$process/ns/pid" 2>/dev/null)" != "$ours" ] || echo "${process#/proc/}"
	done
}

no_children() { [ -z "$(children)" ]; }

purge() {
	if [ -d "$root" ]; then
		[ "$(stat -c %U "$root")" = paas ] || die "$root does not belong to the user paas, so it is kept" "rm -r $root"
		purge_docker
		rm -rf --one-file-system "$root"
		say "removed $root and its apps' containers, images and volumes"
	fi
	rm -rf "${CONFIG%/*}" "$LOG"
	! getent passwd paas >/dev/null || quietly "cannot remove the user paas" userdel paas
	say "removed the settings and the user paas"
}

# Several instances can share Docker. Ours is the one with our subnet.
purge_docker() {
	local subnet network instance=
	subnet=$(setting subnet)
	docker version >/dev/null 2>&1 || die "Docker does not answer, so nothing was purged" \
		"start Docker, then run this again"
	for network in $(docker network ls --quiet --filter label=paas.instance); do
		if [ "$(docker network inspect --format '{{(index .IPAM.Config 0).Subnet}}' "$network")" = "${subnet:-10.213.0.0/16}" ]; then
			instance=$(docker network inspect --format '{{index .Labels "paas.instance"}}' "$network")
		fi
	done
	[ -n "$instance" ] || return 0
	local ours=label=paas.instance=$instance
	remove_rules "PAAS-$instance-"
	docker ps --all --quiet --filter "$ours" | xargs --no-run-if-empty docker rm --force --volumes >/dev/null
	docker network ls --quiet --filter "$ours" | xargs --no-run-if-empty docker network rm >/dev/null
	docker volume ls --quiet --filter "$ours" | xargs --no-run-if-empty docker volume rm >/dev/null
	docker images --quiet --filter "$ours" | sort -u | xargs --no-run-if-empty docker rmi --force >/dev/null
}

# The rules that keep containers from the services of this machine, in chains with this prefix.
remove_rules() {
	local rule chain
	command -v iptables >/dev/null || return 0
	iptables -w 10 -S INPUT | grep -F -- "-j $1" | sed 's/^-A/-D/' | while read -r rule; do
		# shellcheck disable=SC2086 # it is several words, which iptables itself printed
		iptables -w 10 $rule
	done || true
	iptables -w 10 -S | sed -n 's/^-N //p' | grep -F "$1" | while read -r chain; do
		iptables -w 10 -F "$chain"
		iptables -w 10 -X "$chain"
	done || true
}

# --- Helpers

has_systemd() { [ -d /run/systemd/system ]; }

# wait_for SECONDS COMMAND...
wait_for() {
	local deadline=$((SECONDS + $1))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$deadline" ] || return 1
		sleep 0.2
	done
}

# quietly MESSAGE COMMAND...: shows the output only if the command fails
quietly() {
	local message=$1
	shift
	"$@" >"$work/log" 2>&1 || {
		tail -n 20 "$work/log" >&2
		die "$message, see the reason above" "$*"
	}
}

say() { echo "-----> $*" >&2; }

die() {
	explained=yes
	printf '\n !     %s\n\nhint: %s\n' "$1" "$2" >&2
	exit 1
}

usage_error() {
	printf '%s\n\nhint: %s --help\n' "$1" "$0" >&2
	exit 2
}

explained=no
# leave STATUS COMMAND: runs at every exit, expected or not
leave() {
	[ "$demo_key" = no ] || paas ssh-keys:remove demo >/dev/null 2>&1 || true
	rm -rf "$work"
	[ "$1" = 0 ] || [ "$explained" = yes ] ||
		die "the installation stopped at: $2" "run it again (finished steps are skipped); bash -x $0 shows every step"
}

main "$@"
