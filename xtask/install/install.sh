#!/bin/sh
# Installs, upgrades and removes both packages in a clean Debian. Where systemd runs, the service has
# to follow. In this folder lie one.deb and two.deb, one.rpm and two.rpm: two packages of one version.
set -eu
cd "$(dirname "$0")"

metrics=http://127.0.0.1:10435
config=/etc/default/tcpwnd

fail() {
    echo "FAILED: $*" >&2
    if running; then
        systemctl status --no-pager --full tcpwnd.service >&2 || true
        journalctl --no-pager --unit tcpwnd.service >&2 || true
    fi
    exit 1
}

held() { echo "ok: $*"; }

# Whether systemd runs here.
running() { [ -d /run/systemd/system ]; }

# $1 is how the service has to stand: enabled or disabled.
enabled() {
    state=$(systemctl is-enabled tcpwnd.service 2>&1) || true
    [ "$state" = "$1" ] || fail "the service is $state instead of $1"
}

# Nothing of the agent $1 is missing that it confines itself by, and it misses nothing since.
confined() {
    journalctl --sync
    said=$(journalctl --no-pager --output cat "_PID=$1")
    printf '%s\n' "$said" | grep -q '^tcpwnd: confined: ' || fail "$1 does not say that it is confined"
    gaps=$(printf '%s\n' "$said" | grep -E 'not confined by|no state is kept|failed to notify') || true
    [ -z "$gaps" ] || fail "$gaps"
    refused=$(journalctl --no-pager --dmesg --output cat | grep 'type=1326' | grep 'comm="tcpwnd"') || true
    [ -z "$refused" ] || fail "it was refused a system call: $refused"
}

# Prints the main process's number, once the service is ready and can be asked.
up() {
    systemctl is-active --quiet tcpwnd.service || fail "the service does not run"
    curl -fsS "$metrics/readyz" >/dev/null || fail "it is not ready"
    curl -fsS "$metrics/metrics" | grep -q '^tcpwnd_build_info{' || fail "it has no metrics"
    pid=$(systemctl show --property MainPID --value tcpwnd.service)
    capabilities=$(sed -n 's/^CapEff:\t//p' "/proc/$pid/status")
    [ "$capabilities" = 0000000000000000 ] || fail "it holds capabilities: $capabilities"
    [ "$(stat --format %u "/proc/$pid")" != 0 ] || fail "it runs as root"
    confined "$pid"
    echo "$pid"
}

down() {
    ! systemctl is-active --quiet tcpwnd.service || fail "the service still runs"
    ! curl -fsS "$metrics/readyz" >/dev/null 2>&1 || fail "somebody still answers"
}

# The package's files where everybody keeps files, and what the package managers' helpers know of it.
files() {
    find /etc /opt /srv /usr /var/cache /var/lib \
        \( -path /var/lib/dpkg -o -path /var/lib/rpm -o -path /var/lib/apt \) -prune -o \
        \( -path '/var/lib/systemd/*' ! -path '*tcpwnd*' ! -path '*deb-systemd*' \) -o \
        \( ! -type d -o -name '*tcpwnd*' \) -print | sort
}

left() {
    files >after
    diff before after >left || fail "it left or took something: $(cat left)"
}

# The state as the service leaves it, by StateDirectory= and a dynamic user. Where systemd runs it is
# there.
kept_state() {
    if running; then
        [ -s /var/lib/private/tcpwnd/state.json ] || fail "the service has left no state file"
    else
        mkdir -p /var/lib/private/tcpwnd
        ln -sfn private/tcpwnd /var/lib/tcpwnd
        touch /var/lib/private/tcpwnd/state.json
    fi
}

program() {
    tcpwnd --version >/dev/null || fail "the program does not run"
    said=$(systemd-analyze verify --man=no tcpwnd.service 2>&1) || fail "verify: $said"
    [ -z "$said" ] || fail "verify: $said"
    bash -c '. /usr/share/bash-completion/completions/tcpwnd && complete -p tcpwnd' >/dev/null ||
        fail "no completion for bash"
}

# $1 is the main process before an upgrade.
replaced() {
    now=$(up)
    [ "$now" != "$1" ] || fail "the service was not restarted"
    tr '\0' '\n' <"/proc/$now/environ" | grep -qx TCPWND_PORT=9092 ||
        fail "it does not have the options of $config"
}

for_debian() {
    dpkg --install one.deb >/dev/null || fail "dpkg --install"
    said=$(dpkg --verify tcpwnd) || true
    [ -z "$said" ] || fail "dpkg --verify: $said"
    program
    enabled enabled
    if running; then before=$(up); fi
    held "deb: installed"

    echo TCPWND_PORT=9092 >>"$config"
    dpkg --install two.deb </dev/null >/dev/null || fail "dpkg --install of the next one"
    [ "$(dpkg-query --show --showformat '${Version}' tcpwnd)" = "$(dpkg-deb --field two.deb Version)" ] ||
        fail "it is not the next version"
    grep -qx TCPWND_PORT=9092 "$config" || fail "the options were overwritten"
    enabled enabled
    if running; then replaced "$before"; fi
    held "deb: upgraded, options kept"

    systemctl disable tcpwnd.service >/dev/null 2>&1
    dpkg --install two.deb </dev/null >/dev/null || fail "dpkg --install of the same"
    enabled disabled
    held "deb: disabled stays disabled"

    if running; then systemctl start tcpwnd.service && up >/dev/null; fi
    dpkg --remove tcpwnd >/dev/null || fail "dpkg --remove"
    if running; then down; fi
    [ ! -e /usr/bin/tcpwnd ] || fail "the program is still there"
    grep -qx TCPWND_PORT=9092 "$config" || fail "the options went with it"
    held "deb: removed, options kept"

    dpkg --install two.deb </dev/null >/dev/null || fail "dpkg --install after removing"
    enabled disabled
    kept_state
    dpkg --purge tcpwnd >/dev/null || fail "dpkg --purge"
    if running; then down; fi
    left
    held "deb: purged, nothing left"
}

# Nothing in a Debian knows that the shell and systemd are there.
rpm_() { rpm --force-debian --nodeps "$@"; }

for_rpm() {
    rpm_ --install one.rpm || fail "rpm --install"
    said=$(rpm_ --verify tcpwnd) || true
    [ -z "$said" ] || fail "rpm --verify: $said"
    program
    # So say Debian's presets.
    enabled enabled
    if running; then
        down
        systemctl start tcpwnd.service || fail "it does not start"
        before=$(up)
    fi
    held "rpm: installed"

    echo TCPWND_PORT=9092 >>"$config"
    rpm_ --upgrade two.rpm || fail "rpm --upgrade"
    grep -qx TCPWND_PORT=9092 "$config" || fail "the options were overwritten"
    enabled enabled
    if running; then replaced "$before"; fi
    held "rpm: upgraded, options kept"

    kept_state
    rpm_ --erase tcpwnd || fail "rpm --erase"
    if running; then down; fi
    grep -qx TCPWND_PORT=9092 "$config.rpmsave" || fail "the options were not saved"
    rm "$config.rpmsave"
    left
    held "rpm: removed, nothing left"
}

files >before
for_debian
for_rpm
