#!/bin/bash
# SPDX-License-Identifier: MIT
# refstorm-record-stress for a moment: every record path, plain and with tight bounds, with stalls
# where the build has windows, with stops, and with each planted bug where it has those.
set -euo pipefail

program=${REFSTORM_BUILD:?the build directory}/refstorm-record-stress
regressions=$(dirname "${BASH_SOURCE[0]}")/../stress/regressions
seed=${REFSTORM_DATA_SEED:-$(date +%s%N)}
timing=${REFSTORM_TIMING_SEED:-$(date +%s%N)}
deltas=100000
plant_deltas=2000000 # at most: what is found ends a run
failures=0
runs=0

# expect CODES ARGUMENT...: the exit code must be one of CODES.
expect() {
	local codes=$1 code=0
	shift
	"$program" --seed "$seed" --timing-seed "$timing" "$@" >"$folder/out" 2>"$folder/err" || code=$?
	runs=$((runs + 1))
	case " $codes " in
	*" $code "*) return 0 ;;
	esac
	echo "exit code $code, not $codes: ${REFSTORM_PLANT:+REFSTORM_PLANT=$REFSTORM_PLANT }$*"
	head -40 "$folder/err" "$folder/out"
	failures=$((failures + 1))
}

# Whether the build takes these arguments, and the environment as it is.
accepts() {
	local code=0
	"$program" --deltas 1000 "$@" >/dev/null 2>&1 || code=$?
	[ "$code" != 2 ]
}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

paths=("--record percpu --queue portable" "--record locked" "--record hashed")
if accepts --queue rseq; then
	paths+=("--record percpu --queue rseq")
fi
stalls=()
if accepts --stalls 1000; then
	stalls=(--stalls 500)
fi
tight=(--soft-deltas 20k --hard-deltas 60k --churn 1000 --naps 2000 --failures 2000 --view-age-ms 200
	--pause-ms 5 --hold-ms 20 --check-ms 500)

check_paths() {
	local path
	for path in "${paths[@]}"; do
		# shellcheck disable=SC2086
		expect 0 $path --deltas "$deltas" --pause-ms 5 --hold-ms 20
		# shellcheck disable=SC2086
		expect 0 $path --deltas "$deltas" "${tight[@]}" "${stalls[@]}"
	done
	expect 0 --deltas "$deltas" --pause-ms 5 --hold-ms 20 --spread --no-help --cpus 1
}

check_stops() {
	local path
	for path in "${paths[@]}"; do
		# shellcheck disable=SC2086
		expect 0 $path --stops 5 --stop-ms 10 --hard-deltas 200k --soft-deltas 50k \
			--pause-ms 5 --hold-ms 20
	done
}

check_regressions() {
	local file arguments
	for file in "$regressions"/record-*.args; do
		read -ra arguments <"$file"
		expect 0 "${arguments[@]}"
	done
}

check_codes() {
	expect 2 --threads 0
	expect 2 --record tree
	expect 2 --deltas
	expect 0 --deltas "$deltas" --pause-ms 5 --hold-ms 20 --json -
	python3 - "$folder/out" <<-'EOF'
		import json, sys
		result = json.load(open(sys.argv[1]))
		assert result["schema"] == "refstorm.record-stress.v1" and result["verdict"] == "pass", result
		assert result["counts"]["deltas"] == result["counts"]["record_recorded"] > 0, result
	EOF
}

# Queue, plant: each must be found; a crash, a hang that is reported, and a report of tsan are finds too.
check_plants() {
	local queue plant
	while read -r queue plant; do
		REFSTORM_PLANT=$plant expect "1 3 66 134 139" --queue "$queue" \
			--deltas "$plant_deltas" "${tight[@]}" "${stalls[@]}" \
			--pause-ms 1 --naps 500 --hang-seconds 5
	done <<-EOF
		portable queue.publish-early
		portable queue.switch-uncounted
		portable queue.taken-twice
		best queue.partial-missed
		best batch.cancel-across-cut
		best sequence.unclosed
		best record.counter-reread
		best view.ignored
		best throttle.no-wake
		best delta.reservation-dropped
	EOF
	# What was armed and never reached has shown nothing.
	REFSTORM_PLANT=queue.publish-early expect 6 --record locked --deltas "$deltas"
}

check_paths
check_stops
check_regressions
check_codes
if REFSTORM_PLANT=sequence.unclosed accepts; then
	check_plants
fi
echo "seed $seed, timing seed $timing: $runs runs, $failures failures"
[ "$failures" = 0 ] && [ "$runs" -gt 0 ]
