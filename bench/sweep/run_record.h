/* SPDX-License-Identifier: MIT */
/* What a result was measured on: the `run` of every JSON result (refstorm.bench.v1 and others). One thread. */
#ifndef REFSTORM_BENCH_RUN_RECORD_H
#define REFSTORM_BENCH_RUN_RECORD_H

#include <jansson.h>

/*
 * A new object: date, commit, build, version, command, machine, cpu, topology, cpus, kernel, governor, clock, memory,
 * load, virtual, counters. What cannot be had is null, never 0 or an empty text. `argv` as main got it;
 * paths in it lose their directories. NULL: no memory.
 */
json_t *run_record_make(int argc, char **argv);

#endif /* REFSTORM_BENCH_RUN_RECORD_H */
