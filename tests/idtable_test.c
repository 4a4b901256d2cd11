/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/idtable.h"
#include "core/base/segments.h"
#include "tests/support/threads.h"

/* What stands behind an id. Plain on purpose: only the table orders it. */
struct record {
	uint64_t key;
	uint64_t payload[4];
};

struct book {
	struct idtable table;
	struct segments records; /* number 0 is not used */
	int make_result;         /* what record_make returns instead of making, if not 0 */
};

static uint64_t payload_word(uint64_t key, unsigned at)
{
	return (key + 1) * UINT64_C(0x9e3779b97f4a7c15) + at;
}

static bool record_equal(const void *context, uint32_t id, const void *key)
{
	const struct book *book = context;
	const struct record *record = segments_at(&book->records, id);

	return record->key == *(const uint64_t *)key;
}

static bool record_is_whole(const struct book *book, uint32_t id, uint64_t key)
{
	const struct record *record = segments_at(&book->records, id);
	bool whole = record->key == key;
	unsigned at;

	for (at = 0; at < 4; at++)
		whole &= record->payload[at] == payload_word(key, at);
	return whole;
}

static int record_make(void *context, const void *wanted, uint32_t *id)
{
	struct book *book = context;
	const uint64_t *key = wanted;
	struct record *record;
	unsigned at;
	int ret;

	if (book->make_result)
		return book->make_result;
	ret = segments_reserve(&book->records, id);
	if (ret)
		return ret;
	record = segments_at(&book->records, *id);
	record->key = *key;
	for (at = 0; at < 4; at++)
		record->payload[at] = payload_word(*key, at);
	return 0;
}

static void book_init(struct book *book)
{
	uint32_t none;

	memset(book, 0, sizeof(*book));
	assert_int_equal(idtable_init(&book->table), 0);
	segments_init(&book->records, sizeof(struct record), 1U << 31);
	assert_int_equal(segments_reserve(&book->records, &none), 0);
	assert_int_equal(none, IDTABLE_NONE);
}

static void book_destroy(struct book *book)
{
	idtable_destroy(&book->table);
	segments_destroy(&book->records);
}

static uint32_t book_find(const struct book *book, uint64_t hash, uint64_t key)
{
	uint32_t id;

	rcu_section_enter();
	id = idtable_find(&book->table, hash, record_equal, book, &key);
	rcu_section_exit();
	return id;
}

static int book_insert(struct book *book, uint64_t hash, uint64_t key, uint32_t *id, bool *made)
{
	return idtable_insert(&book->table, hash, record_equal, record_make, book, &key, id, made);
}

/* All keys spread; all in one shard; all with one tag; tags that differ in one bit. */
static uint64_t hash_spread(uint64_t key)
{
	return idtable_hash_u64(key);
}

static uint64_t hash_one_shard(uint64_t key)
{
	return idtable_hash_u64(key) >> IDTABLE_SHARD_BITS;
}

static uint64_t hash_one_tag(uint64_t key)
{
	return UINT64_C(0xdeadbeef) << 32 | (key & 0xffff);
}

static uint64_t hash_two_tags(uint64_t key)
{
	return (key & 1) << 40;
}

typedef uint64_t hash_fn(uint64_t key);

static void truth_table(hash_fn *hash, uint64_t keys)
{
	struct book book;
	uint32_t id;
	uint64_t key;
	bool made;

	book_init(&book);
	for (key = 0; key < keys; key++) {
		assert_int_equal(book_find(&book, hash(key), key), IDTABLE_NONE);
		assert_int_equal(book_insert(&book, hash(key), key, &id, &made), 0);
		assert_true(made);
		assert_int_equal(id, key + 1);
		assert_int_equal(idtable_count(&book.table), key + 1);
		assert_int_equal(book_find(&book, hash(key), key), id);
		/* One that is there, old or new, keeps its id. */
		assert_int_equal(book_insert(&book, hash(key / 2), key / 2, &id, &made), 0);
		assert_false(made);
		assert_int_equal(id, key / 2 + 1);
		assert_int_equal(idtable_count(&book.table), key + 1);
	}
	for (key = 0; key < keys; key++) {
		assert_int_equal(book_find(&book, hash(key), key), key + 1);
		assert_true(record_is_whole(&book, (uint32_t)key + 1, key));
		assert_int_equal(book_find(&book, hash(key + keys), key + keys), IDTABLE_NONE);
	}
	assert_int_equal(segments_used(&book.records), keys + 1);
	book_destroy(&book);
}

static void idtable_truth_table(void **state)
{
	(void)state;
	rcu_thread_enroll();
	truth_table(hash_spread, 1);
	truth_table(hash_spread, 50000);
	truth_table(hash_one_shard, 10000);
	truth_table(hash_one_tag, 700);
	truth_table(hash_two_tags, 700);
	rcu_thread_leave();
}

/* Insertion is allowed inside a section, growth too. */
static void idtable_insert_in_a_section(void **state)
{
	struct book book;
	uint64_t key;

	(void)state;
	rcu_thread_enroll();
	book_init(&book);
	rcu_section_enter();
	for (key = 0; key < 10000; key++) {
		uint32_t id;
		bool made;

		assert_int_equal(book_insert(&book, hash_spread(key), key, &id, &made), 0);
		assert_int_equal(idtable_find(&book.table, hash_spread(key), record_equal, &book,
					      &key),
				 id);
	}
	rcu_section_exit();
	book_destroy(&book);
	rcu_thread_leave();
}

/* What `make` says is returned, and nothing is there then. */
static void idtable_make_fails(void **state)
{
	struct book book;
	uint64_t key;
	uint32_t id;
	bool made;

	(void)state;
	rcu_thread_enroll();
	book_init(&book);
	for (key = 0; key < 3000; key++) {
		book.make_result = -EDOM;
		assert_int_equal(book_insert(&book, hash_spread(key), key, &id, &made), -EDOM);
		assert_int_equal(book_find(&book, hash_spread(key), key), IDTABLE_NONE);
		assert_int_equal(idtable_count(&book.table), key);
		book.make_result = 0;
		assert_int_equal(book_insert(&book, hash_spread(key), key, &id, &made), 0);
		assert_int_equal(id, key + 1);
	}
	book_destroy(&book);
	rcu_thread_leave();
}

static void idtable_init_without_memory(void **state)
{
	struct idtable table;
	unsigned failures = 0;
	int ret;

	(void)state;
	do {
		alloc_fail_arm(failures + 1, 0);
		ret = idtable_init(&table);
		if (ret) {
			assert_int_equal(ret, -ENOMEM);
			assert_int_equal(alloc_fail_count(), 1);
			failures++;
			/* Allowed after a failure too. */
			idtable_destroy(&table);
		}
	} while (ret);
	assert_int_equal(alloc_fail_count(), 0);
	alloc_fail_arm(0, 0);
	assert_int_equal(failures, IDTABLE_SHARDS + 2);
	idtable_destroy(&table);
}

/* Each allocation of each insertion fails once; all that was there stays. */
static void idtable_insert_without_memory(void **state)
{
	struct book book;
	uint64_t failures = 0;
	uint64_t key;
	uint64_t other;
	uint32_t id;
	bool made;

	(void)state;
	rcu_thread_enroll();
	book_init(&book);
	for (key = 0; key < 6000; key++) {
		unsigned nth = 1;

		for (;; nth++) {
			int ret;

			alloc_fail_arm(nth, 0);
			ret = book_insert(&book, hash_spread(key), key, &id, &made);
			assert_int_equal(ret, alloc_fail_count() ? -ENOMEM : 0);
			alloc_fail_arm(0, 0);
			if (!ret)
				break;
			failures++;
			assert_int_equal(idtable_count(&book.table), key);
			assert_int_equal(book_find(&book, hash_spread(key), key), IDTABLE_NONE);
			for (other = 0; other < key; other++)
				assert_int_equal(book_find(&book, hash_spread(other), other),
						 other + 1);
		}
		assert_true(made);
		assert_int_equal(id, key + 1);
	}
	/* Two growths of nearly all shards, and segments. */
	assert_true(failures > IDTABLE_SHARDS);
	book_destroy(&book);
	rcu_thread_leave();
}

#define WRITERS 8
#define READERS 2
#define NOT_TRIED UINT32_MAX

struct crowd {
	struct book book;
	hash_fn *hash;
	uint32_t keys;
	uint32_t draws; /* of each writer */
	uint64_t seed;
	uint32_t *ids[WRITERS]; /* the id of each key as the writer has seen it */
	order_u32 writing;
	order_u64 broken; /* relaxed, as are the next: read when all are joined */
	order_u64 made;
	order_u64 found;
	bool faults;
};

static void crowd_count(order_u64 *counter, bool condition)
{
	if (condition)
		order_fetch_add_relaxed(counter, 1);
}

/* As callers do: a look-up, and an insertion where it has missed. */
static void write_key(struct crowd *crowd, unsigned thread, uint64_t key)
{
	uint64_t hash = crowd->hash(key);
	uint32_t id = book_find(&crowd->book, hash, key);
	bool made = false;
	int ret = 0;

	if (!id) {
		crowd_count(&crowd->broken, crowd->ids[thread][key] != NOT_TRIED);
		ret = book_insert(&crowd->book, hash, key, &id, &made);
	}
	if (ret) {
		crowd_count(&crowd->broken, ret != -ENOMEM || !crowd->faults);
		return;
	}
	crowd_count(&crowd->made, made);
	crowd_count(&crowd->broken, !record_is_whole(&crowd->book, id, key));
	crowd_count(&crowd->broken,
		    crowd->ids[thread][key] != NOT_TRIED && crowd->ids[thread][key] != id);
	crowd->ids[thread][key] = id;
}

/* Only looks up: nothing but the table orders what it sees. */
static void read_keys(struct crowd *crowd, struct random_state *random)
{
	/* Relaxed: when to stop, and nothing else. */
	while (order_load_relaxed(&crowd->writing)) {
		uint64_t key = random_state_below(random, crowd->keys);
		uint32_t id = book_find(&crowd->book, crowd->hash(key), key);

		if (!id)
			continue;
		crowd_count(&crowd->found, true);
		crowd_count(&crowd->broken, !record_is_whole(&crowd->book, id, key));
	}
}

/* The first round goes through the keys in one order, so that writers meet at the same key. */
static void crowd_thread(void *argument, unsigned thread)
{
	struct crowd *crowd = argument;
	struct random_state random;
	uint32_t at;

	random_state_seed(&random, crowd->seed, thread);
	if (thread >= WRITERS) {
		read_keys(crowd, &random);
		return;
	}
	for (at = 0; at < crowd->draws; at++) {
		if (crowd->faults && random_state_chance(&random, 1, 50))
			alloc_fail_arm(1 + random_state_below(&random, 3), 0);
		write_key(crowd, thread,
			  thread % 2 ? random_state_below(&random, crowd->keys) : at % crowd->keys);
	}
	order_fetch_sub_relaxed(&crowd->writing, 1);
}

/* Equal keys have one id for all writers, and all that was inserted is found. */
static void crowd_check(struct crowd *crowd)
{
	uint32_t distinct = 0;
	uint32_t key;

	for (key = 0; key < crowd->keys; key++) {
		uint32_t id = book_find(&crowd->book, crowd->hash(key), key);
		unsigned writer;

		distinct += id != IDTABLE_NONE;
		for (writer = 0; writer < WRITERS; writer++)
			if (crowd->ids[writer][key] != NOT_TRIED)
				assert_int_equal(crowd->ids[writer][key], id);
		if (id)
			assert_true(record_is_whole(&crowd->book, id, key));
	}
	assert_int_equal(idtable_count(&crowd->book.table), distinct);
	assert_int_equal(order_load_relaxed(&crowd->made), distinct);
	assert_int_equal(segments_used(&crowd->book.records), distinct + 1);
	if (!crowd->faults)
		assert_int_equal(distinct, crowd->keys);
}

static void run_crowd(struct crowd *crowd)
{
	unsigned writer;

	rcu_thread_enroll();
	book_init(&crowd->book);
	for (writer = 0; writer < WRITERS; writer++) {
		crowd->ids[writer] = malloc(crowd->keys * sizeof(uint32_t));
		assert_non_null(crowd->ids[writer]);
		memset(crowd->ids[writer], 0xff, crowd->keys * sizeof(uint32_t));
	}
	order_store_relaxed(&crowd->writing, WRITERS);
	threads_run(WRITERS + READERS, crowd_thread, crowd);
	alloc_fail_arm(0, 0);
	assert_int_equal(order_load_relaxed(&crowd->broken), 0);
	crowd_check(crowd);
	for (writer = 0; writer < WRITERS; writer++)
		free(crowd->ids[writer]);
	book_destroy(&crowd->book);
	rcu_defer_barrier();
	rcu_thread_leave();
}

static void idtable_under_threads(void **state)
{
	struct crowd crowd = { .hash = hash_spread, .keys = 40000, .draws = 60000 };

	(void)state;
	crowd.seed = threads_data_seed("idtable_under_threads");
	run_crowd(&crowd);
	assert_true(order_load_relaxed(&crowd.found) > 0);
}

/* One shard, which grows all the time; one tag, so that every probe compares keys. */
static void idtable_under_threads_in_one_shard(void **state)
{
	struct crowd shard = { .hash = hash_one_shard, .keys = 10000, .draws = 15000 };
	struct crowd tag = { .hash = hash_one_tag, .keys = 200, .draws = 1000 };

	(void)state;
	shard.seed = threads_data_seed("idtable_under_threads_in_one_shard");
	tag.seed = shard.seed;
	run_crowd(&shard);
	run_crowd(&tag);
}

static void idtable_under_threads_with_faults(void **state)
{
	struct crowd crowd = { .hash = hash_spread, .keys = 20000, .draws = 30000, .faults = true };

	(void)state;
	crowd.seed = threads_data_seed("idtable_under_threads_with_faults");
	run_crowd(&crowd);
}

/* Threads stand still after a miss, and under the lock when an array has been replaced. */
static void idtable_under_threads_with_stalls(void **state)
{
	uint64_t seed = threads_data_seed("idtable_under_threads_with_stalls");
	uint64_t timing = threads_timing_seed("idtable_under_threads_with_stalls");
	unsigned round;

	(void)state;
	for (round = 0; round < 4; round++) {
		struct crowd crowd = { .hash = hash_one_shard, .keys = 1000, .draws = 1500 };

		crowd.seed = seed + round;
		threads_stalls_begin("idtable.", timing + round * 2, 8, 200);
		run_crowd(&crowd);
		threads_stalls_end();
		threads_stalls_assert_passed("idtable.missed");
		threads_stalls_assert_passed("idtable.grown");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(idtable_truth_table),
		cmocka_unit_test(idtable_insert_in_a_section),
		cmocka_unit_test(idtable_make_fails),
		cmocka_unit_test(idtable_init_without_memory),
		cmocka_unit_test(idtable_insert_without_memory),
		cmocka_unit_test(idtable_under_threads),
		cmocka_unit_test(idtable_under_threads_in_one_shard),
		cmocka_unit_test(idtable_under_threads_with_faults),
		cmocka_unit_test(idtable_under_threads_with_stalls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
