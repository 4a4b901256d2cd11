#!/bin/bash
# SPDX-License-Identifier: MIT
# In the count build: outside of changes of segment an append writes no shared line and has no
# locked instruction. The benchmarks count, and fail if it does.
set -euo pipefail

out=$("$REFSTORM_BUILD/refstorm-microbench" --benchmark_min_time=0.05 --benchmark_format=json \
	'--benchmark_filter=^record/(percpu|portable)/(hot|consumed)/threads:[12]$')
for what in locked shared; do
	none=$(grep -c "\"${what}_per_delta\": 0.0*e+00" <<<"$out" || true)
	if [ "$none" -ne 8 ]; then
		echo "$none of 8 benchmarks counted no $what:"
		printf '%s\n' "$out"
		exit 1
	fi
done
