/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/error.h"
#include "core/base/order.h"
#include "core/base/random.h"
#include "tests/support/threads.h"
#include "workloads/script_run.h"

#define DONE_MAX 100000

/* A back end that writes down what it is asked for, and fails lines by their file. */
struct recorder {
	const struct script *script;
	order_u32 joined;
	order_u32 left;
	order_u32 count; /* relaxed, as all here: looked at when the run is over */
	uint32_t lines[DONE_MAX];
	pthread_t threads[DONE_MAX];
	pthread_t join_threads[SCRIPT_THREADS_MAX];
	int join_fails; /* the join with this number, from 1 */
	bool aborted;
};

static int mock_join(void *argument, void **thread)
{
	struct recorder *recorder = argument;
	uint32_t number = order_fetch_add_relaxed(&recorder->joined, 1);

	if ((int)number + 1 == recorder->join_fails)
		return -ENOMEM;
	recorder->join_threads[number] = pthread_self();
	*thread = recorder;
	return 0;
}

static void mock_leave(void *thread)
{
	struct recorder *recorder = thread;

	order_fetch_add_relaxed(&recorder->left, 1);
}

static int mock_aborted(void *argument, struct rs_error *error)
{
	struct recorder *recorder = argument;

	return recorder->aborted ? error_set(error, -EIO, "the disk has gone") : 0;
}

static int mock_run(void *thread, const struct script_operation *operation)
{
	struct recorder *recorder = thread;
	uint32_t at = order_fetch_add_relaxed(&recorder->count, 1);

	assert_true(at < DONE_MAX);
	recorder->lines[at] = operation->line;
	recorder->threads[at] = pthread_self();
	if (operation->kind == SCRIPT_UNLINK)
		return -ENOENT;
	return 0;
}

static const struct script_backend mock = {
	.name = "a mock",
	.join = mock_join,
	.leave = mock_leave,
	.aborted = mock_aborted,
	.run = {
		[SCRIPT_WRITE] = mock_run,
		[SCRIPT_UNLINK] = mock_run,
		[SCRIPT_SNAPSHOT] = mock_run,
		[SCRIPT_COMMIT] = mock_run,
	},
};

/* One run, and what it left. */
struct trial {
	struct recorder recorder;
	struct script_run_result result;
	struct rs_error error;
	unsigned checks;
	bool check_fails;
	bool no_check;
	unsigned threads;
};

static struct trial trial;
static order_u32 questions_left; /* until an interruption; relaxed */

static int count_check(void *argument, struct rs_error *error)
{
	struct trial *running = argument;

	running->checks++;
	return running->check_fails ? error_set(error, -EUCLEAN, "a number is wrong") : 0;
}

static bool interrupt_soon(void)
{
	return order_fetch_sub_relaxed(&questions_left, 1) == 1;
}

static enum script_run_outcome run_text(const char *text, bool (*interrupted)(void))
{
	struct rs_error error = RS_ERROR_INIT;
	struct script_backend backend = mock;
	struct script_run_options options = {
		.backend = &backend,
		.threads = trial.threads,
		.check = trial.no_check ? NULL : count_check,
		.check_argument = &trial,
		.interrupted = interrupted,
	};
	struct script *script;
	enum script_run_outcome outcome;

	if (script_parse("a.script", text, strlen(text), &script, &error))
		fail_msg("%s: %s", error.where, error.what);
	backend.argument = &trial.recorder;
	options.script = script;
	trial.error = (struct rs_error)RS_ERROR_INIT;
	outcome = script_run(&options, &trial.result, &trial.error);
	assert_int_equal(outcome != SCRIPT_RUN_OK, trial.error.code != 0);
	assert_int_equal(order_load_relaxed(&trial.recorder.joined),
			 order_load_relaxed(&trial.recorder.left) +
				 (trial.recorder.join_fails != 0));
	script_free(script);
	return outcome;
}

static void expect_lines(const uint32_t *lines, unsigned count)
{
	assert_int_equal(order_load_relaxed(&trial.recorder.count), count);
	assert_memory_equal(trial.recorder.lines, lines, count * sizeof(*lines));
}

static int fresh(void **state)
{
	(void)state;
	memset(&trial, 0, sizeof(trial));
	return 0;
}

static void run_in_order(void **state)
{
	const uint32_t lines[] = { 1, 2, 4, 6 };

	(void)state;
	assert_int_equal(run_text("commit\nwrite v f 0 4k\n# no\nfails ENOENT unlink v f\ncheck\n"
				  "commit",
				  NULL),
			 SCRIPT_RUN_OK);
	expect_lines(lines, 4);
	assert_int_equal(trial.result.operations, 5);
	assert_int_equal(trial.result.failures, 1);
	assert_int_equal(trial.result.checks, 1);
	assert_int_equal(trial.result.threads, 0);
	assert_int_equal(trial.checks, 1);
	assert_true(pthread_equal(trial.recorder.threads[0], pthread_self()));
}

static void run_nothing(void **state)
{
	(void)state;
	assert_int_equal(run_text("# nothing\n", NULL), SCRIPT_RUN_NOTHING);
	assert_string_equal(trial.error.where, "a.script");
	assert_int_equal(order_load_relaxed(&trial.recorder.joined), 0);
}

static void run_wrong(void **state)
{
	const uint32_t lines[] = { 1, 2 };

	(void)state;
	assert_int_equal(run_text("commit\n  unlink v f # gone\ncommit", NULL), SCRIPT_RUN_WRONG);
	expect_lines(lines, 2);
	assert_string_equal(trial.error.where, "a.script:2");
	assert_string_equal(trial.error.what,
			    "'unlink v f # gone' failed with ENOENT (No such file or directory)");
	assert_int_equal(trial.result.operations, 1);
	fresh(NULL);
	assert_int_equal(run_text("fails EEXIST unlink v f", NULL), SCRIPT_RUN_WRONG);
	assert_non_null(strstr(trial.error.what, "failed with ENOENT"));
	assert_non_null(strstr(trial.error.what, "wanted: EEXIST"));
	fresh(NULL);
	assert_int_equal(run_text("fails EEXIST commit", NULL), SCRIPT_RUN_WRONG);
	assert_string_equal(trial.error.what,
			    "'fails EEXIST commit' has not failed; wanted: EEXIST");
	fresh(NULL);
	trial.recorder.aborted = true;
	assert_int_equal(run_text("unlink v f", NULL), SCRIPT_RUN_WRONG);
	assert_non_null(strstr(trial.error.what, "aborted: the disk has gone"));
}

static void run_check_fails(void **state)
{
	(void)state;
	trial.check_fails = true;
	assert_int_equal(run_text("commit\ncheck\ncheck\n", NULL), SCRIPT_RUN_WRONG);
	assert_string_equal(trial.error.where, "a.script:2");
	assert_string_equal(trial.error.what, "a number is wrong");
	assert_int_equal(trial.checks, 1);
	fresh(NULL);
	trial.check_fails = true;
	assert_int_equal(run_text("fails EUCLEAN check", NULL), SCRIPT_RUN_OK);
	fresh(NULL);
	assert_int_equal(run_text("fails EUCLEAN check", NULL), SCRIPT_RUN_WRONG);
}

/* What is not there is refused before anything has run. */
static void run_not_available(void **state)
{
	(void)state;
	assert_int_equal(run_text("commit\nrescan start\n", NULL), SCRIPT_RUN_UNUSABLE);
	assert_string_equal(trial.error.where, "a.script:2");
	assert_string_equal(trial.error.what, "rescan start: not available yet on a mock");
	assert_int_equal(run_text("snapshot v w\nsnapshot v w group 1/1\n", NULL),
			 SCRIPT_RUN_UNUSABLE);
	assert_string_equal(trial.error.what, "snapshot with groups: not available yet on a mock");
	trial.no_check = true;
	assert_int_equal(run_text("check", NULL), SCRIPT_RUN_UNUSABLE);
	assert_int_equal(order_load_relaxed(&trial.recorder.count), 0);
	assert_int_equal(order_load_relaxed(&trial.recorder.joined), 0);
}

/* Where in the record a line stands. */
static unsigned place_of(uint32_t line)
{
	unsigned count = order_load_relaxed(&trial.recorder.count);
	unsigned at;

	for (at = 0; at < count; at++)
		if (trial.recorder.lines[at] == line)
			return at;
	fail_msg("line %u was not run", line);
	return 0;
}

/* Lines of a thread in their order and on one thread; lines without one between all others. */
static void check_order(const struct script *script, unsigned threads)
{
	unsigned last[SCRIPT_THREADS_MAX] = { 0 }; /* place and 1 of a thread's last line */
	unsigned least = 0;                        /* place behind the last line without a thread */
	unsigned most = 0;
	size_t at;

	for (at = 0; at < script->operation_count; at++) {
		const struct script_operation *operation = &script->operations[at];
		unsigned place = place_of(operation->line);
		unsigned thread = operation->thread % threads;

		assert_true(place >= least);
		if (place > most)
			most = place;
		if (operation->thread == SCRIPT_NO_THREAD) {
			assert_int_equal(place, most);
			assert_true(pthread_equal(trial.recorder.threads[place], pthread_self()));
			least = place + 1;
			continue;
		}
		assert_true(place + 1 > last[thread]);
		if (last[thread])
			assert_true(pthread_equal(trial.recorder.threads[place],
						  trial.recorder.threads[last[thread] - 1]));
		last[thread] = place + 1;
	}
}

static void run_threads(void **state)
{
	uint64_t seed = threads_data_seed("run_threads");
	unsigned round;

	(void)state;
	for (round = 0; round < 12; round++) {
		struct rs_error error = RS_ERROR_INIT;
		struct random_state random;
		char *text = NULL;
		struct script *script;
		size_t bytes;
		FILE *to = open_memstream(&text, &bytes);
		unsigned at;

		fresh(NULL);
		random_state_seed(&random, seed, round);
		for (at = 0; at < 1000; at++) {
			if (random_state_chance(&random, 9, 10))
				fprintf(to, "@%u ", (unsigned)random_state_below(&random, 5));
			fprintf(to, "commit\n");
		}
		fclose(to);
		trial.threads = round % 4;
		assert_int_equal(run_text(text, NULL), SCRIPT_RUN_OK);
		assert_int_equal(trial.result.operations, 1000);
		assert_int_equal(trial.result.threads, trial.threads ? trial.threads : 5);
		assert_int_equal(order_load_relaxed(&trial.recorder.joined),
				 trial.result.threads + 1);
		assert_int_equal(script_parse("a", text, bytes, &script, &error), 0);
		check_order(script, trial.result.threads);
		script_free(script);
		free(text);
	}
}

/* All threads stop, and of two failures the first line counts. */
static void run_threads_fail(void **state)
{
	(void)state;
	assert_int_equal(run_text("@0 commit\n@1 unlink v f\n@2 unlink v f\n@0 commit\ncommit\n",
				  NULL),
			 SCRIPT_RUN_WRONG);
	assert_true(!strcmp(trial.error.where, "a.script:2") ||
		    !strcmp(trial.error.where, "a.script:3"));
	assert_true(order_load_relaxed(&trial.recorder.count) < 5);
	fresh(NULL);
	trial.threads = 1;
	assert_int_equal(run_text("@0 commit\n@1 unlink v f\n@2 unlink v f\n", NULL),
			 SCRIPT_RUN_WRONG);
	assert_string_equal(trial.error.where, "a.script:2");
	assert_int_equal(order_load_relaxed(&trial.recorder.count), 2);
}

static void run_interrupted(void **state)
{
	(void)state;
	order_store_relaxed(&questions_left, 4);
	assert_int_equal(run_text("commit\ncommit\n@1 commit\n@1 commit\n@1 commit\ncommit\n",
				  interrupt_soon),
			 SCRIPT_RUN_INTERRUPTED);
	assert_true(order_load_relaxed(&trial.recorder.count) < 6);
}

static void run_join_fails(void **state)
{
	int number;

	(void)state;
	for (number = 1; number <= 3; number++) {
		fresh(NULL);
		trial.recorder.join_fails = number;
		assert_int_equal(run_text("commit\n@0 commit\n@1 commit\n", NULL),
				 SCRIPT_RUN_UNUSABLE);
	}
}

static void run_without_memory(void **state)
{
	struct rs_error error = RS_ERROR_INIT;
	const char *text = "commit\n@0 commit\n@1 commit\n";
	struct script_backend backend = mock;
	struct script_run_options options = { .backend = &backend };
	struct script *script;
	unsigned failures = 0;
	enum script_run_outcome outcome;

	(void)state;
	assert_int_equal(script_parse("a", text, strlen(text), &script, &error), 0);
	backend.argument = &trial.recorder;
	options.script = script;
	do {
		fresh(NULL);
		alloc_fail_arm(failures + 1, 0);
		outcome = script_run(&options, &trial.result, &error);
		failures += outcome == SCRIPT_RUN_UNUSABLE;
		assert_int_equal(order_load_relaxed(&trial.recorder.joined),
				 order_load_relaxed(&trial.recorder.left));
	} while (outcome == SCRIPT_RUN_UNUSABLE);
	alloc_fail_arm(0, 0);
	assert_int_equal(outcome, SCRIPT_RUN_OK);
	assert_int_equal(failures, 3);
	script_free(script);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(run_in_order, fresh),
		cmocka_unit_test_setup(run_nothing, fresh),
		cmocka_unit_test_setup(run_wrong, fresh),
		cmocka_unit_test_setup(run_check_fails, fresh),
		cmocka_unit_test_setup(run_not_available, fresh),
		cmocka_unit_test_setup(run_threads, fresh),
		cmocka_unit_test_setup(run_threads_fail, fresh),
		cmocka_unit_test_setup(run_interrupted, fresh),
		cmocka_unit_test_setup(run_join_fails, fresh),
		cmocka_unit_test_setup(run_without_memory, fresh),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
