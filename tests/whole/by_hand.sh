#!/bin/sh
# Dash by hand: creates a swarm, waits for its end and reads its report, with nc -U alone (OpenBSD's).
#
#   by_hand.sh SOCKET FILE...
#
# One agent counts the lines of one FILE, somewhere in this folder (names without quotes or backslashes). A request is one line of JSON
# and so is its answer; -N tells dashd that no more requests come, and it hangs up once it has answered.
set -eu

socket=$1
shift

ask() { # ask METHOD PARAMS: prints the answer; what was refused is said, and is the end
    answer=$(printf '{"jsonrpc":"2.0","id":1,"method":"%s","params":%s}\n' "$1" "$2" | nc -N -U "$socket")
    case $answer in
        *'"result":'*) printf '%s\n' "$answer" ;;
        *) printf '%s: %s\n' "$1" "${answer:-no answer}" >&2 && exit 1 ;;
    esac
}
text() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; } # text NAME: the last string of that name
number() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p"; }   # number NAME: the last number of that name

items=$(printf '"%s",' "$@")
argv='["wc","-l","{item}"]'
created=$(ask swarm.create "{\"task\":\"count\",\"agents\":$#,\"items\":[${items%,}],\"cwd\":\"$PWD\",\"argv\":$argv}")
swarm=$(printf '%s' "$created" | text id)
cursor=$(printf '%s' "$created" | number cursor)
echo "swarm $swarm, cursor $cursor"

end='"kinds":["swarm.completed","swarm.failed","swarm.destroyed"]'
while
    waited=$(ask event.wait "{\"swarm\":\"$swarm\",\"since\":$cursor,$end,\"timeout_s\":30}")
    cursor=$(printf '%s' "$waited" | number cursor)
    case $waited in *'"timed_out":true'*) true ;; *) false ;; esac
do :; done

report=$(ask swarm.report "{\"swarm\":\"$swarm\"}")
printf '%s\n' "$report" | text summary
printf '%s\n' "$report" | tr '{' '\n' | sed -n 's/.*"item":.*"result":"\([^"\\]*\).*/\1/p'
case $report in *'"outcome":"complete"'*) ;; *) exit 1 ;; esac
