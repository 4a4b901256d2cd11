/* SPDX-License-Identifier: MIT */
/* A sample on its way from the process that took it, as JSON. One thread. */
#ifndef REFSTORM_BENCH_SAMPLE_JSON_H
#define REFSTORM_BENCH_SAMPLE_JSON_H

#include <jansson.h>

#include "bench/sweep/sample.h"

/* NULL: no memory. */
json_t *sample_json_pack(const struct sample *sample, unsigned operations);

/* False: it is none. */
bool sample_json_unpack(const json_t *json, unsigned operations, struct sample *sample);

/* [[lowest value, count], ...] of those that are not empty. */
json_t *sample_json_buckets(const struct histogram *histogram);

/* Times are null unless they were measured. */
json_t *sample_json_lock(const struct sample_lock *lock, bool times);

#endif /* REFSTORM_BENCH_SAMPLE_JSON_H */
