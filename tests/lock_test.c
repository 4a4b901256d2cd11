/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/lock.h"

#define MS UINT64_C(1000000)

static void sleep_ns(uint64_t ns)
{
	struct timespec time = { (time_t)(ns / (1000 * MS)), (long)(ns % (1000 * MS)) };

	nanosleep(&time, NULL);
}

static void lock_truth(void **state)
{
	struct lock_statistics statistics;
	struct lock lock;

	(void)state;
	lock_init(&lock, LOCK_RANK_IDTABLE, "one");
	lock_acquire(&lock);
	lock_release(&lock);
	assert_true(lock_try(&lock));
	lock_release(&lock);
	lock_statistics_read(&lock, &statistics);
	assert_string_equal(statistics.name, "one");
	assert_int_equal(statistics.rank, LOCK_RANK_IDTABLE);
	assert_true(statistics.acquisitions == 2);
	assert_true(statistics.contended == 0);
	/* Times were not asked for. */
	assert_true(statistics.wait_ns == 0 && statistics.wait_ns_max == 0);
	assert_true(statistics.hold_ns == 0 && statistics.hold_ns_max == 0);
	lock_destroy(&lock);
}

static void *try_from_elsewhere(void *argument)
{
	struct lock *lock = argument;

	if (!lock_try(lock))
		return NULL;
	lock_release(lock);
	return lock;
}

static void lock_try_fails_when_held(void **state)
{
	struct lock_statistics statistics;
	struct lock lock;
	pthread_t thread;
	void *got;

	(void)state;
	lock_init(&lock, LOCK_RANK_IDTABLE, "held");
	lock_acquire(&lock);
	assert_int_equal(pthread_create(&thread, NULL, try_from_elsewhere, &lock), 0);
	assert_int_equal(pthread_join(thread, &got), 0);
	assert_null(got);
	lock_release(&lock);
	assert_int_equal(pthread_create(&thread, NULL, try_from_elsewhere, &lock), 0);
	assert_int_equal(pthread_join(thread, &got), 0);
	assert_ptr_equal(got, &lock);
	lock_statistics_read(&lock, &statistics);
	assert_true(statistics.acquisitions == 2);
	assert_true(statistics.contended == 0);
	lock_destroy(&lock);
}

struct each {
	unsigned seen[3];
	uint64_t acquisitions[3];
};

static void each_lock(const struct lock_statistics *statistics, void *argument)
{
	static const char *const names[] = { "first", "second", "third" };
	struct each *each = argument;

	for (int i = 0; i < 3; i++)
		if (!strcmp(statistics->name, names[i])) {
			each->seen[i]++;
			each->acquisitions[i] += statistics->acquisitions;
		}
}

static void lock_each_walks_live_locks(void **state)
{
	struct lock first;
	struct lock second;
	struct lock third;
	struct each each = { 0 };

	(void)state;
	lock_init(&first, LOCK_RANK_IDTABLE, "first");
	lock_init(&second, LOCK_RANK_IDTABLE, "second");
	lock_init(&third, LOCK_RANK_IDTABLE, "third");
	lock_acquire(&second);
	lock_release(&second);
	lock_statistics_each(each_lock, &each);
	assert_true(each.seen[0] == 1 && each.seen[1] == 1 && each.seen[2] == 1);
	assert_true(each.acquisitions[0] == 0 && each.acquisitions[1] == 1);

	each = (struct each){ 0 };
	lock_destroy(&second);
	lock_statistics_each(each_lock, &each);
	assert_true(each.seen[0] == 1 && each.seen[1] == 0 && each.seen[2] == 1);

	each = (struct each){ 0 };
	lock_destroy(&third);
	lock_statistics_each(each_lock, &each);
	assert_true(each.seen[0] == 1 && each.seen[1] == 0 && each.seen[2] == 0);

	each = (struct each){ 0 };
	lock_destroy(&first);
	lock_statistics_each(each_lock, &each);
	assert_true(each.seen[0] == 0 && each.seen[1] == 0 && each.seen[2] == 0);
}

#define THREADS 4
#define ROUNDS 20000

struct counted {
	struct lock lock;
	uint64_t value; /* plain: under the lock */
	order_u64 tried;
	order_u32 done;
};

static void *count_under_lock(void *argument)
{
	struct counted *counted = argument;
	uint64_t tried = 0;

	for (int i = 0; i < ROUNDS; i++) {
		if (i % 4 == 0) {
			if (!lock_try(&counted->lock))
				continue;
			tried++;
		} else {
			lock_acquire(&counted->lock);
		}
		counted->value++;
		lock_release(&counted->lock);
	}
	order_fetch_add_relaxed(&counted->tried, tried);
	return NULL;
}

static uint64_t timed_waits(const struct lock_statistics *statistics)
{
	uint64_t sum = 0;

	for (unsigned at = 0; at < LOCK_WAIT_BUCKETS; at++)
		sum += statistics->waits[at];
	return sum;
}

/* Reads all along: numbers only rise, and a maximum never exceeds its sum by the end. */
static void *watch_statistics(void *argument)
{
	struct counted *counted = argument;
	struct lock_statistics last = { 0 };

	while (!order_load_relaxed(&counted->done)) {
		struct lock_statistics now;

		lock_statistics_read(&counted->lock, &now);
		if (now.acquisitions < last.acquisitions || now.contended < last.contended ||
		    now.hold_ns < last.hold_ns || now.wait_ns < last.wait_ns ||
		    now.hold_ns_max < last.hold_ns_max || now.wait_ns_max < last.wait_ns_max)
			return NULL;
		last = now;
	}
	return argument;
}

static void run_counted(struct counted *counted)
{
	pthread_t threads[THREADS];
	pthread_t watcher;
	void *fine;

	lock_init(&counted->lock, LOCK_RANK_IDTABLE, "counted");
	assert_int_equal(pthread_create(&watcher, NULL, watch_statistics, counted), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_under_lock, counted), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	order_store_relaxed(&counted->done, 1);
	assert_int_equal(pthread_join(watcher, &fine), 0);
	assert_ptr_equal(fine, counted);
}

static void lock_counts_are_conserved(void **state)
{
	struct counted counted = { .value = 0 };
	struct lock_statistics statistics;
	uint64_t expected;

	(void)state;
	run_counted(&counted);
	expected = THREADS * (ROUNDS - ROUNDS / 4) + order_load_relaxed(&counted.tried);
	lock_statistics_read(&counted.lock, &statistics);
	assert_true(counted.value == expected);
	assert_true(statistics.acquisitions == expected);
	assert_true(statistics.contended <= statistics.acquisitions);
	assert_true(statistics.hold_ns == 0 && statistics.wait_ns == 0);
	lock_destroy(&counted.lock);
}

static void lock_times_are_conserved(void **state)
{
	struct counted counted = { .value = 0 };
	struct lock_statistics statistics;

	(void)state;
	lock_statistics_enable(true);
	run_counted(&counted);
	lock_statistics_enable(false);
	lock_statistics_read(&counted.lock, &statistics);
	assert_true(statistics.acquisitions == counted.value);
	assert_true(statistics.hold_ns > 0);
	assert_true(statistics.hold_ns_max > 0);
	assert_true(statistics.hold_ns_max <= statistics.hold_ns);
	assert_true(statistics.wait_ns_max <= statistics.wait_ns);
	assert_true(statistics.contended || !statistics.wait_ns);
	assert_true(timed_waits(&statistics) == statistics.contended);
	assert_true(statistics.wait_ns_p99 <= statistics.wait_ns_max);
	lock_destroy(&counted.lock);
}

static void *acquire_once(void *argument)
{
	struct counted *counted = argument;

	order_store_relaxed(&counted->done, 1);
	lock_acquire(&counted->lock);
	counted->value++;
	lock_release(&counted->lock);
	return NULL;
}

/* One thread holds the lock for a known while; the other's wait and both holds are measured. */
static void lock_times_are_right(void **state)
{
	struct counted counted = { .value = 0 };
	struct lock_statistics statistics = { 0 };
	pthread_t thread;

	(void)state;
	lock_init(&counted.lock, LOCK_RANK_IDTABLE, "timed");
	lock_statistics_enable(true);
	lock_acquire(&counted.lock);
	assert_int_equal(pthread_create(&thread, NULL, acquire_once, &counted), 0);
	while (!order_load_relaxed(&counted.done))
		sleep_ns(MS);
	sleep_ns(50 * MS);
	lock_release(&counted.lock);
	assert_int_equal(pthread_join(thread, NULL), 0);
	lock_statistics_enable(false);
	lock_statistics_read(&counted.lock, &statistics);
	assert_true(statistics.acquisitions == 2);
	assert_true(statistics.contended == 1);
	assert_true(statistics.hold_ns_max >= 50 * MS);
	assert_true(statistics.hold_ns >= statistics.hold_ns_max);
	assert_true(statistics.wait_ns == statistics.wait_ns_max);
	/* It began to wait a moment after it said so. */
	assert_true(statistics.wait_ns >= 10 * MS);
	/* The only wait, to an eighth of it. */
	assert_true(statistics.wait_ns_p99 <= statistics.wait_ns);
	assert_true(statistics.wait_ns_p99 >= statistics.wait_ns / 8 * 7 - 1);
	assert_true(timed_waits(&statistics) == 1);
	lock_destroy(&counted.lock);
}

/* What is added up has the waits of all, and what is taken away has none of them. */
static void lock_statistics_add_up(void **state)
{
	struct lock_statistics first = { .name = "x", .acquisitions = 90, .contended = 50 };
	struct lock_statistics second = first;
	struct lock_statistics sum;

	(void)state;
	/* Below 128 ns; and 1.25 to 1.5 of a doubling from 2^20 on. */
	first.waits[0] = 99;
	first.wait_ns = 99 * 60;
	first.wait_ns_max = 70;
	second.waits[1 + (20 - LOCK_WAIT_BITS) * 4 + 1] = 1;
	second.wait_ns = second.wait_ns_max = 1400000;
	second.hold_ns = 10;
	sum = first;
	lock_statistics_add(&sum, &second);
	assert_true(sum.acquisitions == 180 && sum.contended == 100);
	assert_true(sum.wait_ns == first.wait_ns + 1400000 && sum.hold_ns == 10);
	assert_true(sum.wait_ns_max == 1400000);
	/* Number 99 of 100, counted from 0, is the long one. */
	assert_true(sum.wait_ns_p99 > 1310720 && sum.wait_ns_p99 < 1572864);
	/* One short one more, and it is left out. */
	sum.waits[0]++;
	lock_statistics_add(&sum, &(struct lock_statistics){ .name = "x" });
	assert_true(sum.wait_ns_p99 == 64);

	lock_statistics_subtract(&sum, &first);
	assert_true(sum.acquisitions == 90 && sum.contended == 50 && sum.wait_ns == 1400000);
	assert_true(timed_waits(&sum) == 2);
	/* Never below nothing: a lock was destroyed between. */
	lock_statistics_subtract(&sum, &first);
	lock_statistics_subtract(&sum, &first);
	assert_true(sum.acquisitions == 0 && sum.contended == 0);
}

/* The last bucket has no end: the longest wait stands for it. */
static void lock_statistics_of_long_waits(void **state)
{
	struct lock_statistics one = { .name = "x", .wait_ns_max = UINT64_C(1) << 40 };
	struct lock_statistics all = { .name = "x" };

	(void)state;
	one.waits[LOCK_WAIT_BUCKETS - 1] = UINT64_C(1) << 62;
	lock_statistics_add(&all, &one);
	assert_true(all.wait_ns_p99 == UINT64_C(1) << 40);
}

/* Switched in the middle of a hold: no time is counted from before the switch. */
static void lock_times_switched_while_held(void **state)
{
	struct lock_statistics statistics;
	struct lock lock;

	(void)state;
	lock_init(&lock, LOCK_RANK_IDTABLE, "switched");
	lock_acquire(&lock);
	lock_statistics_enable(true);
	lock_release(&lock);
	lock_statistics_read(&lock, &statistics);
	assert_true(statistics.hold_ns == 0);
	lock_acquire(&lock);
	lock_statistics_enable(false);
	sleep_ns(MS);
	lock_release(&lock);
	lock_statistics_read(&lock, &statistics);
	assert_true(statistics.hold_ns >= MS);
	lock_destroy(&lock);
}

static struct lock low[3];
static struct lock high;

static void set_up_ranks(void)
{
	for (int i = 0; i < 3; i++)
		lock_init(&low[i], LOCK_RANK_IDTABLE, "a low lock");
	lock_init(&high, LOCK_RANK_IDTABLE + 50, "a high lock");
}

static void take_down_ranks(void)
{
	for (int i = 0; i < 3; i++)
		lock_destroy(&low[i]);
	lock_destroy(&high);
}

static void lock_order_that_is_allowed(void **state)
{
	(void)state;
	set_up_ranks();
	lock_acquire(&low[0]);
	lock_acquire(&high);
	lock_release(&low[0]); /* in any order */
	lock_release(&high);

	lock_acquire(&low[0]);
	lock_acquire_next(&low[1]);
	lock_acquire_next(&low[2]);
	lock_release(&low[1]);
	lock_acquire(&high);
	lock_release(&low[0]);
	lock_release(&high);
	lock_release(&low[2]);

	/* As the first one, and tried against the order. */
	lock_acquire_next(&high);
	assert_true(lock_try(&low[0]));
	lock_release(&high);
	lock_acquire(&high);
	lock_release(&low[0]);
	lock_release(&high);
	take_down_ranks();
}

#ifndef NDEBUG
static void break_rank(void)
{
	lock_acquire(&high);
	lock_acquire(&low[0]);
}

static void break_same_rank(void)
{
	lock_acquire(&low[0]);
	lock_acquire(&low[1]);
}

static void break_address(void)
{
	lock_acquire(&low[1]);
	lock_acquire_next(&low[0]);
}

static void break_next_rank(void)
{
	lock_acquire(&high);
	lock_acquire_next(&low[0]);
}

static void break_twice(void)
{
	lock_acquire(&low[0]);
	lock_acquire(&low[0]);
}

static void break_try_twice(void)
{
	lock_acquire(&low[0]);
	if (lock_try(&low[0]))
		_exit(3);
}

static void break_release(void)
{
	lock_release(&low[0]);
}

/* The order among all that are held counts, not only the last one. */
static void break_rank_behind(void)
{
	lock_acquire(&high);
	if (!lock_try(&low[0]))
		_exit(3);
	lock_acquire_next(&low[1]);
}

/* Runs it in a child; its standard error goes to `text`. Returns wait's status. */
static int run_broken(void (*broken)(void), char *text, size_t text_bytes)
{
	int ends[2];
	int status = -1;
	size_t used = 0;
	ssize_t got;
	pid_t pid;

	assert_int_equal(pipe(ends), 0);
	pid = fork();
	if (!pid) {
		struct rlimit no_core = { 0, 0 };

		setrlimit(RLIMIT_CORE, &no_core);
		signal(SIGABRT, SIG_DFL);
		dup2(ends[1], STDERR_FILENO);
		broken();
		_exit(0);
	}
	assert_true(pid > 0);
	close(ends[1]);
	while (used < text_bytes - 1 &&
	       (got = read(ends[0], text + used, text_bytes - 1 - used)) > 0)
		used += (size_t)got;
	text[used] = '\0';
	close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void lock_violations_abort(void **state)
{
	static const struct {
		void (*broken)(void);
		const char *says;
		bool names_high;
	} rows[] = {
		{ break_rank, "higher rank", true },
		{ break_rank_behind, "higher rank", true },
		{ break_next_rank, "higher rank", true },
		{ break_same_rank, "same rank", false },
		{ break_address, "higher address", false },
		{ break_twice, "acquired twice", false },
		{ break_try_twice, "tried while held", false },
		{ break_release, "not held", false },
	};

	(void)state;
	set_up_ranks();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[4096];
		int status = run_broken(rows[i].broken, text, sizeof(text));

		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
		assert_non_null(strstr(text, rows[i].says));
		assert_non_null(strstr(text, "'a low lock' (rank 100,"));
		if (rows[i].names_high)
			assert_non_null(strstr(text, "'a high lock' (rank 150,"));
	}
	take_down_ranks();
}
#endif

static void *make_and_destroy(void *argument)
{
	struct lock locks[8];

	(void)argument;
	for (int round = 0; round < 500; round++) {
		for (int i = 0; i < 8; i++)
			lock_init(&locks[i], LOCK_RANK_IDTABLE, "short-lived");
		for (int i = 0; i < 8; i++)
			lock_destroy(&locks[(i * 3 + round) % 8]);
	}
	return NULL;
}

static void count_one(const struct lock_statistics *statistics, void *argument)
{
	if (!strcmp(statistics->name, "short-lived"))
		++*(uint64_t *)argument;
}

static void lock_list_under_threads(void **state)
{
	pthread_t threads[THREADS];
	uint64_t count = 0;

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, make_and_destroy, NULL), 0);
	for (int i = 0; i < 200; i++) {
		count = 0;
		lock_statistics_each(count_one, &count);
		assert_true(count <= THREADS * 8);
	}
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	count = 0;
	lock_statistics_each(count_one, &count);
	assert_true(count == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lock_truth),
		cmocka_unit_test(lock_try_fails_when_held),
		cmocka_unit_test(lock_each_walks_live_locks),
		cmocka_unit_test(lock_order_that_is_allowed),
#ifndef NDEBUG
		cmocka_unit_test(lock_violations_abort),
#endif
		cmocka_unit_test(lock_times_are_right),
		cmocka_unit_test(lock_statistics_add_up),
		cmocka_unit_test(lock_statistics_of_long_waits),
		cmocka_unit_test(lock_times_switched_while_held),
		cmocka_unit_test(lock_counts_are_conserved),
		cmocka_unit_test(lock_times_are_conserved),
		cmocka_unit_test(lock_list_under_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
