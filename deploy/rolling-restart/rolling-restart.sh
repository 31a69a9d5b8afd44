#!/bin/sh
# Restarts one broker after the other, and goes on only when tcpwnd says that the one before has
# no damaged connections.
#
#   rolling-restart.sh [options] BROKER...
#
#   -r COMMAND  restarts the broker $BROKER and returns when it is up
#               (systemctl restart kafka, by ssh and sudo)
#   -a COMMAND  asks the agent of $BROKER what $QUERY says, and prints its answer
#               (curl 'http://127.0.0.1:10435/api/v1/findings?$QUERY', by ssh)
#   -p PORT     of the brokers (9092)
#   -m NUMBER   handshakes that must have been judged after a restart (1)
#   -s SECONDS  for which the agent must find nothing wrong before the next restart (30)
#   -t SECONDS  after which a broker is given up (900)
#   -i SECONDS  between two questions (5)
#
# Exit codes: 0 all were restarted; 1 damaged connections stayed open; 2 usage, or a restart
# failed; 3 inconclusive: no answer, or one that nothing can be concluded from. Brokers that come
# after the one that is named were left alone.
#
# Wants curl and jq.
set -u

restart="ssh -n \"\$BROKER\" sudo systemctl restart kafka"
url="http://127.0.0.1:10435/api/v1/findings"
ask="ssh -n \"\$BROKER\" \"curl -fsS --max-time 10 '$url?\$QUERY'\""
port=9092 least=1 settle=30 patience=900 interval=5

usage() {
    echo "usage: ${0##*/} [-r COMMAND] [-a COMMAND] [-p PORT] [-m NUMBER] [-s SECONDS]" \
        "[-t SECONDS] [-i SECONDS] BROKER..." >&2
    exit 2
}

while getopts r:a:p:m:s:t:i: option; do
    case $option in
    r) restart=$OPTARG ;;
    a) ask=$OPTARG ;;
    p) port=$OPTARG ;;
    m) least=$OPTARG ;;
    s) settle=$OPTARG ;;
    t) patience=$OPTARG ;;
    i) interval=$OPTARG ;;
    *) usage ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || usage
for number in "$port" "$least" "$settle" "$patience" "$interval"; do
    case $number in '' | *[!0-9]*) usage ;; esac
done

say() {
    echo "$BROKER: $*"
}

# Asks the agent about the time since $1. Sets now, verdict, judged, open and why, or fails.
answer() {
    QUERY="port=$port&since=$1&limit=0"
    export QUERY
    fields=$(sh -c "$ask" | jq -r 'select(.schema == 1 and .kind == "findings") |
        [.now, .verdict, .handshakes_judged, .damaged_open, ([.reasons[].code] | join(","))] |
        map(tostring) | join(" ")') || return 1
    [ -n "$fields" ] || return 1
    read -r now verdict judged open why <<EOF
$fields
EOF
}

# Whether waiting can make an inconclusive answer a conclusive one.
may_pass() {
    case ,$why, in
    ,behind, | ,not_ready, | ,not_ready,behind,) return 0 ;;
    *) return 1 ;;
    esac
}

# Waits until nothing has been wrong since $1 for long enough. Its status is the script's.
wait_sound() {
    deadline=$(($(date +%s) + patience))
    sound_since=
    while :; do
        status=3 state=
        if ! answer "$1"; then
            state="no answer from the agent"
        elif [ "$verdict" = damaged ]; then
            status=1 state="$open damaged connections are open"
        elif [ "$verdict" = inconclusive ]; then
            state="inconclusive: $why"
            may_pass || { say "$state"; return 3; }
        elif [ "$verdict" != clean ] && [ "$verdict" != healed ]; then
            state="an unknown verdict: $verdict"
        elif [ "$judged" -lt "$least" ]; then
            state="$judged of $least handshakes have come"
        fi
        time=$(date +%s)
        if [ -n "$state" ]; then
            sound_since=
            say "held back: $state"
        else
            : "${sound_since:=$time}"
            [ $((time - sound_since)) -lt "$settle" ] || { say "$verdict"; return 0; }
        fi
        if [ "$time" -ge "$deadline" ]; then
            say "given up after $patience s: ${state:-it was $verdict for too short a time}"
            return "$status"
        fi
        sleep "$interval"
    done
}

for BROKER; do
    export BROKER
    # By the agent's own clock. An agent that is not there is better found before the restart.
    if ! answer 0s; then
        say "not restarted: no answer from the agent"
        exit 3
    elif [ -n "$why" ]; then
        say "not restarted: inconclusive: $why"
        exit 3
    fi
    before=$now
    say "restarting"
    if ! sh -c "$restart"; then
        say "the restart failed"
        exit 2
    fi
    wait_sound "$before" || exit
done
