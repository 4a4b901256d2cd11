/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/base/plant.h"
#include "core/base/rcu.h"

#define WORDS 16
#define SLOTS 4
#define READERS 6
#define UPDATERS 2
#define UPDATES 3000
#define POISON UINT64_C(0xdeadbeefdeadbeef)

/* All words are equal while it lives. Plain on purpose: only RCU orders them. */
struct object {
	struct rcu_deferred deferred;
	uint64_t words[WORDS];
};

/* Any updater changes the first SLOTS, by exchange; each of the others has one writer. */
struct shared {
	order_ptr slots[SLOTS + UPDATERS];
	order_u32 updaters;
	order_u32 ready; /* threads that have started */
	order_u32 stop;
	order_u64 reads;
	order_u64 broken;
	order_u64 made;
};

/* Written by callbacks, which run one after another on RCU's thread; read after the barrier. */
static uint64_t objects_freed;

static struct object *object_create(struct shared *shared, uint64_t value)
{
	struct object *object = alloc_array(1, sizeof(*object));

	if (!object)
		abort();
	for (int i = 0; i < WORDS; i++)
		object->words[i] = value;
	order_fetch_add_relaxed(&shared->made, 1);
	return object;
}

static void object_free(struct rcu_deferred *deferred)
{
	struct object *object =
		(struct object *)((char *)deferred - offsetof(struct object, deferred));

	for (int i = 0; i < WORDS; i++) {
		/* Volatile: else the compiler drops stores to memory that is freed next. */
		volatile uint64_t *word = &object->words[i];

		*word = POISON;
	}
	objects_freed++;
	alloc_free(object);
}

/* Looks at it twice with a pause between, and counts words that differ or are poison. */
static uint64_t object_check(const struct object *object)
{
	const volatile uint64_t *words = object->words;
	uint64_t value = words[0];
	uint64_t broken = value == POISON;

	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < WORDS; i++)
			broken += words[i] != value;
		sched_yield();
	}
	return broken;
}

static void *reader(void *argument)
{
	struct shared *shared = argument;
	uint64_t reads = 0;
	uint64_t broken = 0;

	rcu_thread_enroll();
	order_fetch_add_relaxed(&shared->ready, 1);
	do {
		rcu_section_enter();
		for (int i = 0; i < SLOTS + UPDATERS; i++)
			broken += object_check(rcu_pointer_observe(&shared->slots[i]));
		rcu_section_exit();
		reads++;
	} while (!order_load_relaxed(&shared->stop));
	rcu_thread_leave();
	order_fetch_add_relaxed(&shared->reads, reads);
	order_fetch_add_relaxed(&shared->broken, broken);
	return NULL;
}

/* Puts `next` into the slot and returns what was there. */
static struct object *object_swap(struct shared *shared, uint64_t i, order_ptr *own,
				  struct object *next)
{
	struct object *old;

	if (i % 3 == 0) {
		/* Relaxed: this updater is the only writer. */
		old = order_load_relaxed(own);
		rcu_pointer_publish(own, next);
		return old;
	}
	/*
	 * SLOT.swap: publishes the new object's words to readers and to the
	 * updater that takes it out again, and sees the old one's.
	 */
	return order_exchange_acq_rel(&shared->slots[i % SLOTS], next);
}

static void *updater(void *argument)
{
	struct shared *shared = argument;
	order_ptr *own = &shared->slots[SLOTS + order_fetch_add_relaxed(&shared->updaters, 1)];

	rcu_thread_enroll();
	order_fetch_add_relaxed(&shared->ready, 1);
	while (order_load_relaxed(&shared->ready) < READERS + UPDATERS)
		sched_yield();
	for (uint64_t i = 1; i <= UPDATES; i++) {
		struct object *old = object_swap(shared, i, own, object_create(shared, i));

		if (i % 64 == 0) {
			/* Waiting and freeing is as good as deferring. */
			rcu_grace_wait();
			old->words[0] = POISON;
			order_fetch_sub_relaxed(&shared->made, 1);
			alloc_free(old);
		} else {
			rcu_defer(&old->deferred, object_free);
		}
	}
	rcu_thread_leave();
	return NULL;
}

/* Returns how many broken objects readers saw. */
static uint64_t run_readers_and_updaters(struct shared *shared)
{
	pthread_t readers[READERS];
	pthread_t updaters[UPDATERS];

	memset(shared, 0, sizeof(*shared));
	objects_freed = 0;
	rcu_thread_enroll();
	for (int i = 0; i < SLOTS + UPDATERS; i++)
		rcu_pointer_publish(&shared->slots[i], object_create(shared, 1));
	for (int i = 0; i < READERS; i++)
		if (pthread_create(&readers[i], NULL, reader, shared))
			abort();
	for (int i = 0; i < UPDATERS; i++)
		if (pthread_create(&updaters[i], NULL, updater, shared))
			abort();
	for (int i = 0; i < UPDATERS; i++)
		pthread_join(updaters[i], NULL);
	order_store_relaxed(&shared->stop, 1);
	for (int i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	for (int i = 0; i < SLOTS + UPDATERS; i++) {
		struct object *last = order_load_relaxed(&shared->slots[i]);

		rcu_defer(&last->deferred, object_free);
	}
	rcu_defer_barrier();
	rcu_thread_leave();
	return order_load_relaxed(&shared->broken);
}

static void rcu_readers_see_no_poison(void **state)
{
	struct shared shared;

	(void)state;
	assert_true(run_readers_and_updaters(&shared) == 0);
	assert_true(order_load_relaxed(&shared.reads) >= READERS);
	/* The barrier waited for all of them, and none ran twice. */
	assert_true(objects_freed == order_load_relaxed(&shared.made));
	assert_true(objects_freed > UPDATES);
}

static void rcu_enrolling_is_counted(void **state)
{
	(void)state;
	for (int round = 0; round < 3; round++) {
		rcu_thread_enroll();
		rcu_thread_enroll();
		rcu_section_enter();
		rcu_section_exit();
		rcu_thread_leave();
		/* Still enrolled, once. */
		rcu_section_enter();
		rcu_section_enter();
		rcu_section_exit();
		rcu_section_exit();
		rcu_grace_wait();
		rcu_thread_leave();
	}
}

struct called {
	struct rcu_deferred deferred;
	cpu_set_t mask;
	sigset_t signals;
	int failed;
};

/*
 * RCU's own thread is neither bound to where the first deferring thread is, nor
 * does it take signals. Runs first: the mask and signals are those of this thread.
 */
static void where_called(struct rcu_deferred *deferred)
{
	struct called *called =
		(struct called *)((char *)deferred - offsetof(struct called, deferred));

	called->failed = sched_getaffinity(0, sizeof(called->mask), &called->mask) ||
			 pthread_sigmask(SIG_SETMASK, NULL, &called->signals);
}

static void rcu_calls_on_a_free_thread(void **state)
{
	struct called called = { .failed = 1 };
	cpu_set_t before;
	cpu_set_t one;
	size_t cpu = 0;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	while (!CPU_ISSET(cpu, &before))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	rcu_thread_enroll();
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	rcu_defer(&called.deferred, where_called);
	rcu_defer_barrier();
	assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
	rcu_thread_leave();
	assert_int_equal(called.failed, 0);
	assert_true(CPU_EQUAL(&called.mask, &before));
	assert_int_equal(sigismember(&called.signals, SIGINT), 1);
	assert_int_equal(sigismember(&called.signals, SIGTERM), 1);
}

static void rcu_publish_and_observe(void **state)
{
	order_ptr pointer;
	int object = 5;

	(void)state;
	order_store_relaxed(&pointer, NULL);
	rcu_thread_enroll();
	rcu_section_enter();
	assert_null(rcu_pointer_observe(&pointer));
	rcu_pointer_publish(&pointer, &object);
	assert_ptr_equal(rcu_pointer_observe(&pointer), &object);
	rcu_section_exit();
	rcu_thread_leave();
}

struct section {
	order_u32 inside;
	order_u32 may_leave;
	uint64_t left; /* plain: ordered by the grace period only */
};

static void *stay_in_section(void *argument)
{
	struct section *section = argument;

	rcu_thread_enroll();
	rcu_section_enter();
	rcu_section_enter();
	rcu_section_exit();
	/* SECTION.inside: the section has been entered. */
	order_store_release(&section->inside, 1);
	while (!order_load_relaxed(&section->may_leave))
		sched_yield();
	section->left = 1;
	rcu_section_exit();
	rcu_thread_leave();
	return NULL;
}

static void *allow_to_leave(void *argument)
{
	struct section *section = argument;
	struct timespec time = { 0, 20000000 };

	nanosleep(&time, NULL);
	order_store_relaxed(&section->may_leave, 1);
	return NULL;
}

/* A nested exit does not end the section, and the wait is for its end. */
static void rcu_grace_waits_for_sections(void **state)
{
	struct section section = { 0 };
	pthread_t inside;
	pthread_t allows;

	(void)state;
	rcu_thread_enroll();
	assert_int_equal(pthread_create(&inside, NULL, stay_in_section, &section), 0);
	/* SECTION.inside: the grace period begins after it was entered. */
	while (!order_load_acquire(&section.inside))
		sched_yield();
	assert_int_equal(pthread_create(&allows, NULL, allow_to_leave, &section), 0);
	rcu_grace_wait();
	assert_true(section.left == 1);
	assert_int_equal(pthread_join(inside, NULL), 0);
	assert_int_equal(pthread_join(allows, NULL), 0);
	rcu_thread_leave();
}

struct late {
	struct rcu_deferred deferred;
	uint64_t *sum;
	uint64_t value;
};

static void late_call(struct rcu_deferred *deferred)
{
	struct late *late = (struct late *)((char *)deferred - offsetof(struct late, deferred));

	*late->sum += late->value;
}

/* Deferring inside a section is allowed, and runs after it. */
static void rcu_defer_runs_after_the_section(void **state)
{
	uint64_t sum = 0;
	struct late late[10];

	(void)state;
	rcu_thread_enroll();
	rcu_section_enter();
	for (uint64_t i = 0; i < 10; i++) {
		late[i].sum = &sum;
		late[i].value = i;
		rcu_defer(&late[i].deferred, late_call);
	}
	rcu_section_exit();
	rcu_defer_barrier();
	assert_true(sum == 45);
	rcu_thread_leave();
}

#ifdef RS_PLANTS
/* This program again, for the stress only, with a plant armed or none. Returns wait's status. */
static int run_child(const char *plant)
{
	pid_t pid = fork();
	int status = -1;

	if (!pid) {
		int quiet = !freopen("/dev/null", "w", stderr);

		if (plant)
			setenv("REFSTORM_PLANT", plant, 1);
		else
			unsetenv("REFSTORM_PLANT");
		if (!quiet)
			execl("/proc/self/exe", "rcu_test", "stress", (char *)NULL);
		_exit(99);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* Poison seen (1), a sanitizer's report, or a crash of readers in freed memory. */
static void rcu_early_free_is_caught(void **state)
{
	int status;

	(void)state;
	status = run_child(NULL);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	status = run_child("rcu.early-free");
	assert_true(WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) != 0));
	assert_false(WIFEXITED(status) && (WEXITSTATUS(status) == 99 || WEXITSTATUS(status) == 2));
}
#endif

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rcu_calls_on_a_free_thread),
		cmocka_unit_test(rcu_enrolling_is_counted),
		cmocka_unit_test(rcu_publish_and_observe),
		cmocka_unit_test(rcu_grace_waits_for_sections),
		cmocka_unit_test(rcu_defer_runs_after_the_section),
		cmocka_unit_test(rcu_readers_see_no_poison),
#ifdef RS_PLANTS
		cmocka_unit_test(rcu_early_free_is_caught),
#endif
	};

	if (argc > 1 && !strcmp(argv[1], "stress")) {
		struct shared shared;
		struct rs_error error = RS_ERROR_INIT;

		if (plant_environment_check(&error))
			return 2;
		return run_readers_and_updaters(&shared) ? 1 : 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
