/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/record_case.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 96
#define LOOKUP_ENTRIES 64
#define CLOSE_NS UINT64_C(20000000000)

const struct record_case record_cases[RECORD_CASES] = {
	{ "percpu/rseq", RS_RECORD_PERCPU, RS_QUEUE_RSEQ, 0 },
	/* Threads on other CPUs use queues of their own. */
	{ "percpu/rseq, one queue", RS_RECORD_PERCPU, RS_QUEUE_RSEQ, 1 },
	{ "percpu/portable", RS_RECORD_PERCPU, RS_QUEUE_PORTABLE, 0 },
	{ "locked", RS_RECORD_LOCKED, RS_QUEUE_BEST, 0 },
	{ "hashed", RS_RECORD_HASHED, RS_QUEUE_BEST, 0 },
};

const struct record_case *record_case_of(void **state)
{
	return *state;
}

struct rs_record *record_case_create(void **state, const struct rs_record_options *options)
{
	const struct record_case *which = record_case_of(state);
	struct rs_record_options all = { .path = which->path };
	struct rs_record *record = NULL;
	int result;

	if (options)
		all = *options;
	all.path = which->path;
	all.queue = which->queue;
	all.cpus = which->cpus;
	result = rs_record_create(&all, &record, NULL);
	if (result == -ENOTSUP)
		skip();
	assert_int_equal(result, 0);
	return record;
}

int record_tests_run(const char *group, const struct record_test *tests, size_t count)
{
	struct CMUnitTest *all = calloc(count * RECORD_CASES, sizeof(*all));
	char(*names)[NAME_MAX_BYTES] = calloc(count * RECORD_CASES, sizeof(*names));
	size_t made = 0;
	size_t test;
	size_t which;
	int failed;

	if (!all || !names)
		return 1;
	for (test = 0; test < count; test++) {
		for (which = 0; which < RECORD_CASES; which++, made++) {
			snprintf(names[made], sizeof(names[made]), "%s: %s", tests[test].name,
				 record_cases[which].name);
			all[made].name = names[made];
			all[made].test_func = tests[test].fn;
			/* cmocka's pointer is not const; tests get it back as one that is. */
			all[made].initial_state = (void *)(uintptr_t)&record_cases[which];
		}
	}
	failed = _cmocka_run_group_tests(group, all, made, NULL, NULL);
	free(names);
	free(all);
	return failed ? 1 : 0;
}

struct rs_delta record_ref(uint64_t bytenr, uint64_t key, int32_t count)
{
	return (struct rs_delta){
		.bytenr = bytenr,
		.root = key,
		.count = count,
		.length_4k = 4,
		.seq_type = RS_DELTA_TREE_BLOCK_REF,
	};
}

struct rs_delta record_root(uint64_t bytenr, uint64_t root, int32_t count, uint64_t reserved)
{
	return (struct rs_delta){
		.bytenr = bytenr,
		.root = root,
		.reserved = reserved,
		.count = count,
		.length_4k = 4,
		.seq_type = RS_DELTA_ROOT,
	};
}

void record_many(struct rs_producer *producer, const struct rs_delta *deltas, size_t count)
{
	size_t at;

	assert_int_equal(rs_operation_begin(producer), 0);
	for (at = 0; at < count; at++)
		assert_int_equal(rs_operation_record(producer, &deltas[at]), 0);
	rs_operation_end(producer);
}

void record_one(struct rs_producer *producer, struct rs_delta delta)
{
	record_many(producer, &delta, 1);
}

uint64_t record_close(struct rs_record *record)
{
	uint64_t cut = rs_cut_take(record);

	assert_int_equal(rs_cut_wait(record, cut, CLOSE_NS, NULL), 0);
	return cut;
}

int record_heads_take(void *argument, const struct rs_head *head)
{
	struct record_heads *heads = argument;
	struct rs_head *kept = &heads->heads[heads->head_count];
	struct rs_delta *entries = &heads->entries[heads->entry_count];
	size_t count = head->ref_count + head->root_count;

	if (heads->fail_at && heads->head_count + 1 == heads->fail_at)
		return -EIO;
	if (heads->head_count == RECORD_HEADS_MAX ||
	    heads->entry_count + count > 2 * RECORD_HEADS_MAX)
		return -ENOSPC;
	*kept = *head;
	kept->refs = entries;
	kept->roots = entries + head->ref_count;
	/* Where there are none the pointer may be NULL, which memcpy must not have. */
	if (head->ref_count)
		memcpy(entries, head->refs, head->ref_count * sizeof(*entries));
	if (head->root_count)
		memcpy(entries + head->ref_count, head->roots, head->root_count * sizeof(*entries));
	heads->head_count++;
	heads->entry_count += count;
	return 0;
}

void record_world_begin(struct record_world *world, void **state,
			const struct rs_record_options *options)
{
	memset(world, 0, sizeof(*world));
	world->record = record_case_create(state, options);
	assert_int_equal(rs_producer_join(world->record, &world->producer), 0);
}

void record_world_end(struct record_world *world)
{
	rs_producer_leave(world->producer);
	rs_record_destroy(world->record);
}

int record_run_to(struct record_world *world, uint64_t cut, size_t fail_at)
{
	world->heads.head_count = 0;
	world->heads.entry_count = 0;
	world->heads.fail_at = fail_at;
	return rs_record_run(world->record, cut, record_heads_take, &world->heads, &world->result);
}

void record_assert_ran(const struct record_world *world, uint64_t cut, size_t heads, size_t entries)
{
	assert_int_equal(world->result.cut, cut);
	assert_int_equal(world->result.heads, heads);
	assert_int_equal(world->heads.head_count, heads);
	assert_int_equal(world->result.entries, entries);
	assert_int_equal(world->heads.entry_count, entries);
}

void record_run_rest(struct record_world *world, size_t heads, size_t entries)
{
	uint64_t cut = record_close(world->record);

	assert_int_equal(record_run_to(world, cut, 0), 0);
	record_assert_ran(world, cut, heads, entries);
}

int64_t record_pending(struct rs_record *record, uint64_t bytenr, uint64_t seq_max)
{
	struct rs_delta entries[LOOKUP_ENTRIES];
	struct rs_head_pending pending;
	int64_t refs = 0;
	size_t at;

	assert_int_equal(rs_record_merge(record), 0);
	assert_int_equal(rs_head_lookup(record, bytenr, seq_max, &pending, entries, LOOKUP_ENTRIES),
			 0);
	for (at = 0; at < pending.entries; at++)
		if (rs_delta_type(&entries[at]) != RS_DELTA_ROOT)
			refs += entries[at].count;
	assert_int_equal(refs, pending.refs);
	return refs;
}

void record_assert_sums(struct rs_record *record, uint64_t recorded, uint64_t run)
{
	struct rs_record_statistics statistics;

	rs_record_statistics_read(record, &statistics);
	assert_int_equal(statistics.recorded, recorded);
	assert_int_equal(statistics.run, run);
	assert_int_equal(statistics.recorded,
			 statistics.merged + statistics.run + statistics.pending_deltas);
	if (statistics.pending_deltas) {
		assert_true(statistics.pending_bytes > 0);
		assert_true(statistics.oldest_ns > 0);
	}
}
