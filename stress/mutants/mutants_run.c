/* SPDX-License-Identifier: MIT */
/* Running mutants: so many tests at a time, each until its end or its limit. */
#include <errno.h>
#include <poll.h>
#include <signal.h>

#include "core/base/alloc.h"
#include "core/base/error.h"
#include "stress/mutants/mutants.h"

#define EXIT_SKIPPED 77
/* A signal that comes just before the wait is not lost for longer. */
#define WAIT_MS_MAX 200

/* A test to be run, with no bug armed if there is no mutant. */
struct job {
	struct mutants_check *check;
	struct mutant *mutant;
};

struct seat {
	struct child child;
	const struct job *job; /* NULL: free */
};

struct run {
	struct mutants *mutants;
	const struct mutants_options *options;
	struct seat *seats;
	struct pollfd *handles; /* of the taken seats, in their order */
	size_t busy;
	size_t done;
	size_t of;
};

static enum mutant_state run_judge(const struct child_end *end)
{
	if (end->how == CHILD_TIMED_OUT)
		return MUTANT_TIMED_OUT;
	if (end->how == CHILD_EXITED && end->number == EXIT_SKIPPED)
		return MUTANT_SKIPPED;
	if (end->how == CHILD_SIGNALED &&
	    (end->number == SIGKILL || end->number == SIGTERM || end->number == SIGINT))
		return MUTANT_KILLED;
	if (!end->reached)
		return MUTANT_NOT_REACHED;
	if (end->how == CHILD_EXITED && !end->number)
		return MUTANT_SURVIVED;
	return MUTANT_CAUGHT;
}

static void run_note_mutant(struct mutant *mutant, const struct child_end *end)
{
	enum mutant_state state = run_judge(end);

	mutant->runs++;
	if (state == MUTANT_CAUGHT)
		mutant->times_s[mutant->caught++] = end->seconds;
	if (mutant->state == MUTANT_NOT_RUN || mutant->state == MUTANT_CAUGHT) {
		mutant->state = state;
		mutant->end = *end;
	}
}

static void run_note(struct run *run, const struct job *job, const struct child_end *end)
{
	if (end->how == CHILD_CANCELED)
		return;
	if (job->mutant) {
		run_note_mutant(job->mutant, end);
	} else {
		job->check->unarmed = *end;
		job->check->control = end->how == CHILD_EXITED && !end->number ? CONTROL_PASSED :
										 CONTROL_FAILED;
	}
	run->done++;
	if (run->options->ended)
		run->options->ended(job->check, job->mutant, run->done, run->of);
}

static int run_start(struct run *run, const struct job *job, struct rs_error *error)
{
	const struct child_order order = {
		.command = job->check->command,
		.environment = job->check->environment,
		.folder = job->check->folder,
		.plant = job->mutant ? job->mutant->plant->name : NULL,
		.limit_s = job->mutant ? run->options->timeout_s : job->check->limit_s,
	};
	struct seat *seat = run->seats;
	int ret;

	while (seat->job)
		seat++;
	ret = child_start(&seat->child, &order, error);
	if (ret)
		return ret;
	seat->job = job;
	run->busy++;
	return 0;
}

static bool run_stopped(struct run *run)
{
	if (run->options->stopped && run->options->stopped())
		run->mutants->interrupted = true;
	return run->mutants->interrupted;
}

/* Until a child ends, the next limit is over, or a while has passed. */
static void run_wait(struct run *run)
{
	int wait_ms = WAIT_MS_MAX;
	nfds_t count = 0;
	unsigned at;

	for (at = 0; at < run->options->jobs; at++) {
		const struct seat *seat = &run->seats[at];
		uint64_t left_ms;

		if (!seat->job)
			continue;
		left_ms = child_left_ns(&seat->child) / 1000000 + 1;
		if (left_ms < (uint64_t)wait_ms)
			wait_ms = (int)left_ms;
		run->handles[count++] =
			(struct pollfd){ .fd = seat->child.handle, .events = POLLIN };
	}
	/* Interrupted or not: the seats are looked at again. */
	(void)poll(run->handles, count, wait_ms);
}

static void run_reap(struct run *run, bool cancel)
{
	struct child_end end;
	unsigned at;

	for (at = 0; at < run->options->jobs; at++) {
		struct seat *seat = &run->seats[at];
		const struct job *job = seat->job;

		if (!job)
			continue;
		if (child_ended(&seat->child, &end)) {
			seat->job = NULL;
			run->busy--;
			run_note(run, job, &end);
		} else if (cancel) {
			child_cancel(&seat->child);
		} else if (!child_left_ns(&seat->child)) {
			child_time_out(&seat->child);
		}
	}
}

/* All jobs, until the first that cannot be started or an interrupt; none is left running. */
static int run_jobs(struct run *run, const struct job *jobs, size_t count, struct rs_error *error)
{
	size_t next = 0;
	int ret = 0;

	for (;;) {
		while (!ret && !run_stopped(run) && next < count && run->busy < run->options->jobs)
			ret = run_start(run, &jobs[next++], error);
		if (!run->busy)
			return ret;
		run_reap(run, ret || run_stopped(run));
		if (run->busy)
			run_wait(run);
	}
}

/* Each test that a mutant wants, once. */
static size_t run_list_controls(const struct mutants *mutants, struct job *jobs)
{
	size_t count = 0;
	size_t at;

	for (at = 0; at < mutants->count; at++) {
		struct mutants_check *check = mutants->all[at].check;

		if (!check->wanted)
			continue;
		check->wanted = false;
		jobs[count++] = (struct job){ .check = check };
	}
	return count;
}

/* Round by round, so that an interrupt leaves each mutant about as many runs. */
static size_t run_list_mutants(const struct mutants *mutants, struct job *jobs)
{
	size_t count = 0;
	unsigned round;
	size_t at;

	for (round = 0; round < mutants->repeat; round++)
		for (at = 0; at < mutants->count; at++) {
			struct mutant *mutant = &mutants->all[at];

			if (mutant->check->control == CONTROL_PASSED)
				jobs[count++] = (struct job){ mutant->check, mutant };
			else
				mutant->state = MUTANT_NO_CONTROL;
		}
	return count;
}

/* `jobs` has room for each mutant `repeat` times. */
static int run_all(struct run *run, struct job *jobs, struct rs_error *error)
{
	size_t count = run_list_controls(run->mutants, jobs);
	int ret;

	run->of = count + run->mutants->count * run->mutants->repeat;
	ret = run_jobs(run, jobs, count, error);
	if (ret || run->mutants->interrupted)
		return ret;
	count = run_list_mutants(run->mutants, jobs);
	run->of = run->done + count;
	return run_jobs(run, jobs, count, error);
}

int mutants_run(struct mutants *mutants, const struct mutants_options *options,
		struct rs_error *error)
{
	struct run run = { .mutants = mutants, .options = options };
	struct job *jobs = alloc_zeroed(mutants->count * mutants->repeat, sizeof(*jobs));
	int ret;

	run.seats = alloc_zeroed(options->jobs, sizeof(*run.seats));
	run.handles = alloc_zeroed(options->jobs, sizeof(*run.handles));
	if (jobs && run.seats && run.handles)
		ret = run_all(&run, jobs, error);
	else
		ret = error_no_memory(error, "the runs of mutants");
	mutants_sort(mutants);
	alloc_free(run.handles);
	alloc_free(run.seats);
	alloc_free(jobs);
	return ret;
}
