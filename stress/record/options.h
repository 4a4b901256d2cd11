/* SPDX-License-Identifier: MIT */
/* What refstorm-record-stress is told to do. One thread. */
#ifndef REFSTORM_STRESS_RECORD_OPTIONS_H
#define REFSTORM_STRESS_RECORD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "refstorm/record.h"

struct options {
	enum rs_record_path path;
	enum rs_record_queue queue;
	uint64_t threads;
	uint64_t deltas;  /* at least; 0: until `seconds` and `stops` are done */
	uint64_t seconds; /* at least */
	uint64_t seed;
	uint64_t timing_seed;
	uint64_t extents;
	uint64_t cpus;
	uint64_t runners;
	uint64_t mergers;
	uint64_t viewers;
	uint64_t lookers;
	uint64_t soft_deltas;
	uint64_t hard_deltas;
	uint64_t age_ms;
	uint64_t view_age_ms;
	uint64_t hold_ms;  /* views are held for up to this long */
	uint64_t pause_ms; /* of runners and mergers between two turns, up to */
	uint64_t check_ms; /* between two checks of all sums */
	uint64_t churn;    /* one in so many operations: leave, end, move */
	uint64_t naps;     /* one in so many operations is slept in */
	uint64_t failures; /* one in so many heads is refused by the runner */
	uint64_t stalls;   /* one in so many passes of windows; 0: none */
	uint64_t stops;    /* of producers by a tracer, at least; 0: none */
	uint64_t stop_ms;  /* the longest */
	uint64_t hang_seconds;
	bool spread;  /* addresses in four places that are far apart */
	bool no_help; /* producers that wait for room have no runner */
	const char *json;
};

/* 0; 2 after a message; -1 after the usage that was asked for. */
int options_parse(struct options *options, int argc, char **argv);

const char *options_path_name(const struct options *options);
const char *options_queue_name(const struct options *options);

#endif /* REFSTORM_STRESS_RECORD_OPTIONS_H */
