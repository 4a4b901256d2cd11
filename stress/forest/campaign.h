/* SPDX-License-Identifier: MIT */
/*
 * refstorm stress: rounds of random scripts, each in a process of its own, up to the first that is
 * not as it must be. Callers: one thread, of a process that has no other.
 */
#ifndef REFSTORM_STRESS_FOREST_CAMPAIGN_H
#define REFSTORM_STRESS_FOREST_CAMPAIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refstorm/error.h"
#include "stress/record/stalls.h"
#include "workloads/script.h"

#define CAMPAIGN_PROFILES_MAX 16U
#define CAMPAIGN_ERRNO_MAX 134U /* numbers of errors are below */
#define CAMPAIGN_WHY_BYTES 1024U
#define CAMPAIGN_PATH_BYTES 4096U

enum campaign_engine {
	CAMPAIGN_OFF, /* quotas are never turned on */
	CAMPAIGN_LEDGER,
	CAMPAIGN_EXTENT,
	CAMPAIGN_ENGINES,
};

#define CAMPAIGN_RECORDS 3U /* enum rs_record_path */

/* The exit codes of the program. */
enum campaign_verdict {
	CAMPAIGN_PASS = 0,
	CAMPAIGN_ORACLE = 1,
	CAMPAIGN_UNUSABLE = 2,
	CAMPAIGN_HANG = 3,
	CAMPAIGN_CRASH = 4,
	CAMPAIGN_LEAK = 5,
	CAMPAIGN_VACUOUS = 6,
	CAMPAIGN_INTERRUPTED = 130,
};

struct campaign_options {
	uint64_t seed;
	uint64_t first;   /* number of the first round */
	uint64_t rounds;  /* at most; UINT64_MAX: until `seconds` are over */
	double seconds;   /* no round begins later; 0: any number of them */
	unsigned threads; /* at most, 1 to 64 */
	bool engines[CAMPAIGN_ENGINES];
	bool records[CAMPAIGN_RECORDS];
	const char *profile; /* "swarm" or a name; NULL: all */
	uint64_t operations; /* of each round; UINT64_MAX: drawn */
	double hang_seconds;
	bool no_faults;
	const char *const *images; /* devices of one file system */
	size_t image_count;
	const char *artifacts; /* the folder */
	const char *program;   /* to be called in replay.sh */
	const char *command;   /* as it was given */
	const char *commit;    /* NULL: not known */
	/* As they stand in a shell, each with a blank before it; "" */
	const char *image_arguments; /* of exec */
	const char *draw_arguments;  /* of stress, all that rounds are drawn from but the seed */
	bool live;                   /* a line on standard error, once a second */
	bool (*interrupted)(void);
};

/* The least time without progress that may be one, in seconds: sanitizers take ten times as long. */
double campaign_hang_seconds(void);

const char *campaign_engine_name(enum campaign_engine engine);
const char *campaign_record_name(unsigned record);
const char *campaign_verdict_name(enum campaign_verdict verdict);
/* Number `index` of the profiles; NULL past the last one. */
const char *campaign_profile_name(unsigned index);

struct campaign_result {
	enum campaign_verdict verdict;
	uint64_t rounds; /* that came to their end, whatever it was */
	uint64_t by_engine[CAMPAIGN_ENGINES];
	uint64_t by_record[CAMPAIGN_RECORDS];
	uint64_t by_profile[CAMPAIGN_PROFILES_MAX];
	uint64_t operations[SCRIPT_KINDS];
	uint64_t failed[CAMPAIGN_ERRNO_MAX]; /* of them, as they should or for want of memory */
	uint64_t recounts;
	uint64_t groups;
	uint64_t references;
	uint64_t actions;
	uint64_t refused; /* allocations */
	uint64_t aborted; /* rounds whose forest was, for that */
	uint64_t stalls;
	uint64_t window_stalls[STALLS_WINDOWS_MAX];
	double expected[SCRIPT_KINDS]; /* operations, by the weights */
	double seconds;
	uint64_t scripts_digest;
	uint64_t state_digest; /* of rounds in which no allocation failed */
	/* Of the failure, if there is one: */
	uint64_t failed_round; /* UINT64_MAX: of no round */
	char why[CAMPAIGN_WHY_BYTES];
	char artifacts[CAMPAIGN_PATH_BYTES]; /* the folder; empty: none */
	char replay[CAMPAIGN_PATH_BYTES];    /* the command */
};

/* 0, or a negative errno and why in `error`: it could not even begin. */
int campaign_run(const struct campaign_options *options, struct campaign_result *result,
		 struct rs_error *error) __attribute__((warn_unused_result));

#endif /* REFSTORM_STRESS_FOREST_CAMPAIGN_H */
