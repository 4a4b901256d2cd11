/* SPDX-License-Identifier: MIT */
/*
 * Every planted bug with the test that must catch it, in every build that can tell: which there are,
 * running them, and what came of it.
 *
 * The first word of a plant's caught_by is the test; "tsan only" in it says that no other build can
 * tell, "not tsan" that the test takes too long there. A bug is caught if the test fails with it
 * armed, the bug was reached, and the same test passes with none armed.
 *
 * One thread.
 */
#ifndef REFSTORM_STRESS_MUTANTS_MUTANTS_H
#define REFSTORM_STRESS_MUTANTS_MUTANTS_H

#include <regex.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/base/plant.h"
#include "refstorm/error.h"
#include "stress/mutants/child.h"

#define MUTANTS_SLOW_S 60.0 /* a bug that takes longer to be caught is as good as not caught */

enum mutants_control {
	CONTROL_NOT_RUN,
	CONTROL_PASSED,
	CONTROL_FAILED,
};

/* A test of a build, as the build runs it. The caller owns what is pointed to. */
struct mutants_check {
	const char *name;
	const char *const *command; /* NULL at the end; NULL: the program is not there */
	const char *const *environment;
	const char *folder;
	double limit_s; /* of a run with no bug armed */
	bool wanted;    /* by a mutant */
	enum mutants_control control;
	struct child_end unarmed; /* how that run ended */
};

/* A build with planted bugs. */
struct mutants_build {
	const char *path;
	const char *preset;
	bool tsan;
	struct mutants_check *checks;
	size_t check_count;
};

enum mutant_state {
	MUTANT_NOT_RUN,
	MUTANT_CAUGHT,      /* in each run */
	MUTANT_SURVIVED,    /* the test passed */
	MUTANT_NOT_REACHED, /* whatever the test said, it did not speak of the bug */
	MUTANT_TIMED_OUT,   /* a hang is no catch: nobody would know what it was */
	MUTANT_SKIPPED,     /* the test skipped itself */
	MUTANT_KILLED,      /* by someone else: memory that ran out, or a user */
	MUTANT_NO_CONTROL,  /* not run: the test fails with no bug armed */
};

/* A bug in a build. */
struct mutant {
	const struct plant *plant;
	const struct mutants_build *build;
	struct mutants_check *check;
	enum mutant_state state; /* of the first run that was no catch, or of all */
	struct child_end end;    /* of that run, or of the last */
	unsigned runs;
	unsigned caught;
	double *times_s; /* of each run that caught it, from the shortest on once mutants_run is over */
	double median_s; /* the median of these */
	double time_s_max;
};

struct mutants {
	struct mutant *all;
	size_t count;
	size_t plants;   /* different bugs among them */
	size_t left_out; /* bugs that were asked for and that no build given can tell */
	double *times_s; /* of all runs; each mutant has its part */
	unsigned repeat;
	bool interrupted;
};

struct mutants_options {
	const regex_t *only; /* names of bugs; NULL: all */
	unsigned repeat;
	unsigned jobs;
	double timeout_s; /* of a run with a bug armed */
	bool (*stopped)(void);
	/* Called after each run; `mutant` is NULL for one with no bug armed. */
	void (*ended)(const struct mutants_check *check, const struct mutant *mutant, size_t done,
		      size_t of);
};

/* What the runs said together. */
struct mutants_summary {
	size_t run; /* mutants that were run to the end */
	size_t caught;
	size_t slow; /* of the caught: in more than MUTANTS_SLOW_S */
	size_t no_control;
	double median_s;              /* of the caught; 0 with none */
	const struct mutant *slowest; /* of the caught; NULL with none */
};

/*
 * Finds the bugs that `options` asks for and their tests in `builds`. -ENOENT for a test that a build
 * has not or has not built, or that no bug matches; -ENOMEM. Destroy it in any case.
 */
int mutants_create(struct mutants *mutants, struct mutants_build *builds, size_t build_count,
		   const struct mutants_options *options, struct rs_error *error)
	__attribute__((warn_unused_result));

void mutants_destroy(struct mutants *mutants);

/*
 * Runs each test once with nothing armed and then all mutants, and sorts them by time, those that
 * were not caught last. Interrupted is no error. A negative errno: a test could not be run.
 */
int mutants_run(struct mutants *mutants, const struct mutants_options *options,
		struct rs_error *error) __attribute__((warn_unused_result));

/* Works out the times and sorts: the caught from the quickest on, then the others. mutants_run ends with it. */
void mutants_sort(struct mutants *mutants);

/* Of sorted ones. */
void mutants_sum(const struct mutants *mutants, struct mutants_summary *summary);

#endif /* REFSTORM_STRESS_MUTANTS_MUTANTS_H */
