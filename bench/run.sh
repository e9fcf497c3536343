#!/bin/bash
#
# run.sh [NAME [ARGUMENTS]]
#
# Builds what is needed and runs the benches, or the one named; see README.md.
# Ends with 1 when a bound was exceeded that must hold on any machine.

set -u

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
build=$(cd "$root" && realpath -m "${BUILD:-build}")

nice -n 5 make -s -C "$root" BUILD="${BUILD:-build}" all bench-build || exit 2

export PRD_MODULE=$build/ngx_http_predictive_module.so
export PRD_REPLAY=$build/predictive-replay

bin=$build/bench

one() {
    local name=$1
    shift

    case "$name" in
        aggregate|decide|exact|experts|farm|groups|gru|lease|newcomer|votes)
            "$bin/$name" "$@"
            ;;
        frog)
            if [ $# -gt 0 ]; then
                "$bin/frog" "$@"
            else
                local rc=0
                "$bin/frog" 1000 4 || rc=1
                "$bin/frog" 1000 1 || rc=1
                return $rc
            fi
            ;;
        poison)
            local rc=0
            one frog || rc=1
            one newcomer || rc=1
            one votes || rc=1
            one farm "$@" || rc=1
            return $rc
            ;;
        closing)  "$bin/closing_bench" "$@" ;;
        front)    perl "$here/front.pl" "$@" ;;
        outage)   perl "$here/outage.pl" "$@" ;;
        replay)   perl "$here/replay.pl" "$bin" "$@" ;;
        gateways) perl "$here/gateways.pl" "$bin" "$@" ;;
        thread)   perl "$here/thread.pl" "$bin" "$@" ;;
        limits)   "$bin/limits" "$@" && perl "$here/limits.pl" ;;
        shield)   perl "$here/shield.pl" "$@" ;;
        soak)     perl "$here/soak.pl" "$@" ;;
        *)
            sed -n 's/^| `\(.*\)` | .*/bench\/run.sh \1/p' \
                "$here/README.md" >&2
            exit 2
            ;;
    esac
}

if [ $# -gt 0 ]; then
    one "$@"
    exit
fi

failed=

for name in closing decide front lease replay thread limits frog newcomer votes \
            farm; do
    one "$name" || failed="$failed $name"
    echo
done

if [ -n "$failed" ]; then
    echo "bench: exceeded or failed:$failed"
    exit 1
fi
