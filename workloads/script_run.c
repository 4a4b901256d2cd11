/* SPDX-License-Identifier: MIT */
#include "workloads/script_run.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/error.h"
#include "core/base/order.h"
#include "workloads/script_words.h"

#define QUOTE_MAX 120 /* of a line in a message */

/* One thread of the run. */
struct worker {
	struct crew *crew;
	pthread_t handle;
	const struct script_operation **operations; /* its own, in their order */
	size_t count;
	size_t next;
	struct script_run_result done;
};

struct crew {
	const struct script_run_options *options;
	struct worker *workers;
	unsigned count;
	unsigned started;
	order_u32 stop;       /* relaxed: seen sooner or later by those that go on meanwhile */
	pthread_mutex_t lock; /* protects all below */
	pthread_cond_t begin;
	pthread_cond_t end;
	const struct script_operation *until; /* the section that is open ends before this one */
	uint64_t section;                     /* number of it; 0: none yet */
	bool quit;
	unsigned busy;
	enum script_run_outcome outcome;
	uint32_t failed_line; /* 0: of no line */
	struct rs_error error;
};

/* Of several failures the one that stands first in the script counts. */
static void crew_fail(struct crew *crew, enum script_run_outcome outcome, uint32_t line,
		      const struct rs_error *error)
{
	pthread_mutex_lock(&crew->lock);
	if (crew->outcome == SCRIPT_RUN_OK || (line && line < crew->failed_line)) {
		crew->outcome = outcome;
		crew->failed_line = line;
		crew->error = *error;
	}
	pthread_mutex_unlock(&crew->lock);
	order_store_relaxed(&crew->stop, 1);
}

static void place_line(const struct script *script, uint32_t line, struct rs_error *error)
{
	error_add_place(error, "%s:%u", script->name, line);
}

/* What was wanted of the line, and what came of it; `found_text` says it if it is not NULL. */
static void fail_line(struct crew *crew, const struct script_operation *operation, int ret,
		      const char *found_text)
{
	const struct script_run_options *options = crew->options;
	const struct script_backend *backend = options->backend;
	struct rs_error error = RS_ERROR_INIT;
	struct rs_error why = RS_ERROR_INIT;
	char found[SCRIPT_WORDS_NAME_BYTES];
	char wanted[SCRIPT_WORDS_NAME_BYTES];
	const char *line;
	size_t length;

	line = script_line(options->script, operation->line, &length);
	if (length > QUOTE_MAX)
		length = QUOTE_MAX;
	script_words_errno_name(found, -ret);
	script_words_errno_name(wanted, operation->fails);
	if (!ret)
		error_set(&error, -EINVAL, "'%.*s' has not failed; wanted: %s", (int)length, line,
			  wanted);
	else if (operation->fails)
		error_set(&error, ret, "'%.*s' failed with %s (%s); wanted: %s", (int)length, line,
			  found, strerror(-ret), wanted);
	else if (found_text)
		error_set(&error, ret, "'%.*s': %s", (int)length, line, found_text);
	else if (backend->aborted && backend->aborted(backend->argument, &why))
		error_set(&error, ret, "'%.*s' failed with %s: all is aborted: %s", (int)length,
			  line, found, why.what);
	else
		error_set(&error, ret, "'%.*s' failed with %s (%s)", (int)length, line, found,
			  strerror(-ret));
	place_line(options->script, operation->line, &error);
	crew_fail(crew, SCRIPT_RUN_WRONG, operation->line, &error);
}

static void run_check(struct crew *crew, const struct script_operation *operation,
		      struct script_run_result *done)
{
	const struct script_run_options *options = crew->options;
	struct rs_error error = RS_ERROR_INIT;
	int ret = options->check(options->check_argument, &error);

	if (ret && !operation->fails) {
		place_line(options->script, operation->line, &error);
		crew_fail(crew, SCRIPT_RUN_WRONG, operation->line, &error);
		return;
	}
	if (ret != -(int)operation->fails) {
		fail_line(crew, operation, ret, NULL);
		return;
	}
	done->operations++;
	done->failures += ret != 0;
	done->checks++;
}

static void run_operation(struct crew *crew, void *thread, const struct script_operation *operation,
			  struct script_run_result *done)
{
	const struct script_backend *backend = crew->options->backend;
	const char *found = NULL;
	int ret;

	if (__builtin_expect(operation->kind == SCRIPT_CHECK, 0)) {
		run_check(crew, operation, done);
		return;
	}
	ret = backend->run[operation->kind](thread, operation);
	if (__builtin_expect(ret != -(int)operation->fails, 0)) {
		if (operation->kind >= SCRIPT_EXPECT_RECLAIM && backend->found)
			found = backend->found(thread);
		fail_line(crew, operation, ret, found);
		return;
	}
	done->operations++;
	done->failures += ret != 0;
	done->checks += operation->kind >= SCRIPT_EXPECT_RECLAIM;
}

/* Whether to go on. Signals are asked for by each thread, so that the noticing one stops all. */
static bool crew_goes_on(struct crew *crew)
{
	if (crew->options->interrupted && crew->options->interrupted()) {
		struct rs_error error = RS_ERROR_INIT;

		error_set(&error, -EINTR, "interrupted");
		crew_fail(crew, SCRIPT_RUN_INTERRUPTED, 0, &error);
	}
	return !order_load_relaxed(&crew->stop);
}

/* The next section, or false. */
static bool worker_wait(struct worker *worker, uint64_t *section,
			const struct script_operation **until)
{
	struct crew *crew = worker->crew;
	bool more;

	pthread_mutex_lock(&crew->lock);
	while (crew->section == *section && !crew->quit)
		pthread_cond_wait(&crew->begin, &crew->lock);
	more = crew->section != *section;
	*section = crew->section;
	*until = crew->until;
	pthread_mutex_unlock(&crew->lock);
	return more;
}

static void worker_rest(struct worker *worker)
{
	struct crew *crew = worker->crew;

	pthread_mutex_lock(&crew->lock);
	if (!--crew->busy)
		pthread_cond_signal(&crew->end);
	pthread_mutex_unlock(&crew->lock);
}

static void join_failed(struct crew *crew, int ret)
{
	struct rs_error error = RS_ERROR_INIT;

	error_set(&error, ret, "a thread cannot begin: %s", strerror(-ret));
	crew_fail(crew, SCRIPT_RUN_UNUSABLE, 0, &error);
}

static void *worker_main(void *argument)
{
	struct worker *worker = argument;
	struct crew *crew = worker->crew;
	const struct script_backend *backend = crew->options->backend;
	const struct script_operation *until;
	uint64_t section = 0;
	void *thread = NULL;
	int ret = backend->join(backend->argument, &thread);

	if (ret)
		join_failed(crew, ret);
	while (worker_wait(worker, &section, &until)) {
		while (worker->next < worker->count && worker->operations[worker->next] < until &&
		       crew_goes_on(crew))
			run_operation(crew, thread, worker->operations[worker->next++],
				      &worker->done);
		worker_rest(worker);
	}
	if (!ret)
		backend->leave(thread);
	return NULL;
}

/* Runs all lines of threads up to `until`. */
static void run_section(struct crew *crew, const struct script_operation *until)
{
	pthread_mutex_lock(&crew->lock);
	crew->until = until;
	crew->section++;
	crew->busy = crew->count;
	pthread_cond_broadcast(&crew->begin);
	while (crew->busy)
		pthread_cond_wait(&crew->end, &crew->lock);
	pthread_mutex_unlock(&crew->lock);
}

static void run_all(struct crew *crew, void *thread, struct script_run_result *done)
{
	const struct script *script = crew->options->script;
	const struct script_operation *at = script->operations;
	const struct script_operation *end = at + script->operation_count;

	while (at < end && crew_goes_on(crew)) {
		if (at->thread == SCRIPT_NO_THREAD) {
			run_operation(crew, thread, at++, done);
			continue;
		}
		while (at < end && at->thread != SCRIPT_NO_THREAD)
			at++;
		run_section(crew, at);
	}
}

/* Deals the lines out. */
static int crew_fill(struct crew *crew)
{
	const struct script *script = crew->options->script;
	const struct script_operation *end = script->operations + script->operation_count;
	const struct script_operation *at;
	unsigned worker;

	for (at = script->operations; at < end; at++)
		if (at->thread != SCRIPT_NO_THREAD)
			crew->workers[at->thread % crew->count].count++;
	for (worker = 0; worker < crew->count; worker++) {
		struct worker *one = &crew->workers[worker];

		one->crew = crew;
		one->operations = alloc_array(one->count + 1, sizeof(*one->operations));
		if (!one->operations)
			return -ENOMEM;
	}
	for (at = script->operations; at < end; at++) {
		struct worker *one;

		if (at->thread == SCRIPT_NO_THREAD)
			continue;
		one = &crew->workers[at->thread % crew->count];
		one->operations[one->next++] = at;
	}
	for (worker = 0; worker < crew->count; worker++)
		crew->workers[worker].next = 0;
	return 0;
}

static int crew_start(struct crew *crew)
{
	int ret = 0;

	crew->workers = alloc_zeroed(crew->count + 1, sizeof(*crew->workers));
	if (!crew->workers)
		return -ENOMEM;
	ret = crew_fill(crew);
	for (; !ret && crew->started < crew->count; crew->started += !ret)
		ret = -pthread_create(&crew->workers[crew->started].handle, NULL, worker_main,
				      &crew->workers[crew->started]);
	return ret;
}

static void crew_end(struct crew *crew, struct script_run_result *result)
{
	unsigned at;

	pthread_mutex_lock(&crew->lock);
	crew->quit = true;
	pthread_cond_broadcast(&crew->begin);
	pthread_mutex_unlock(&crew->lock);
	for (at = 0; at < crew->started; at++) {
		const struct script_run_result *done = &crew->workers[at].done;

		pthread_join(crew->workers[at].handle, NULL);
		result->operations += done->operations;
		result->failures += done->failures;
		result->checks += done->checks;
	}
	for (at = 0; crew->workers && at < crew->count; at++)
		alloc_free(crew->workers[at].operations);
	alloc_free(crew->workers);
}

static bool is_there(const struct script_run_options *options,
		     const struct script_operation *operation)
{
	if (operation->kind == SCRIPT_CHECK)
		return options->check;
	if (!options->backend->run[operation->kind])
		return false;
	return operation->kind != SCRIPT_SNAPSHOT || !operation->group_count ||
	       options->backend->run[SCRIPT_GROUP_CREATE];
}

/* False after a message. */
static bool line_there(const struct script_run_options *options,
		       const struct script_operation *operation, struct rs_error *error)
{
	const struct script_backend *backend = options->backend;
	char name[SCRIPT_WORDS_NAME_BYTES];
	const char *why = NULL;

	script_words_name(name, (enum script_kind)operation->kind);
	if (!is_there(options, operation)) {
		error_set(error, -EOPNOTSUPP, "%s%s: not available yet on %s", name,
			  operation->kind == SCRIPT_SNAPSHOT ? " with groups" : "", backend->name);
	} else {
		if (backend->refused)
			why = backend->refused(operation);
		if (!why)
			return true;
		error_set(error, -EOPNOTSUPP, "%s: %s", name, why);
	}
	place_line(options->script, operation->line, error);
	return false;
}

/* Before anything is run: a script that cannot be run to its end is not begun. */
static bool all_there(const struct script_run_options *options, struct rs_error *error)
{
	const struct script *script = options->script;
	size_t at;

	for (at = 0; at < script->operation_count; at++)
		if (!line_there(options, &script->operations[at], error))
			return false;
	return true;
}

static void run_crew(struct crew *crew, struct script_run_result *result)
{
	const struct script_backend *backend = crew->options->backend;
	void *thread = NULL;
	int ret = backend->join(backend->argument, &thread);

	if (ret) {
		join_failed(crew, ret);
		return;
	}
	ret = crew_start(crew);
	if (ret)
		join_failed(crew, ret);
	else
		run_all(crew, thread, result);
	crew_end(crew, result);
	backend->leave(thread);
}

enum script_run_outcome script_run(const struct script_run_options *options,
				   struct script_run_result *result, struct rs_error *error)
{
	const struct script *script = options->script;
	struct crew crew = {
		.options = options,
		.count = script->threads,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.begin = PTHREAD_COND_INITIALIZER,
		.end = PTHREAD_COND_INITIALIZER,
		.error = RS_ERROR_INIT,
	};

	memset(result, 0, sizeof(*result));
	if (options->threads && options->threads < crew.count)
		crew.count = options->threads;
	result->threads = crew.count;
	if (!script->operation_count) {
		error_set(error, -ENODATA, "the script has no operation");
		error_add_place(error, "%s", script->name);
		return SCRIPT_RUN_NOTHING;
	}
	if (!all_there(options, error))
		return SCRIPT_RUN_UNUSABLE;
	run_crew(&crew, result);
	if (crew.outcome != SCRIPT_RUN_OK && error)
		*error = crew.error;
	return crew.outcome;
}
