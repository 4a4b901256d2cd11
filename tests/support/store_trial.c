/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/store_trial.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void store_trial_begin(struct store_trial *trial, const struct store_variant *variant)
{
	memset(trial, 0, sizeof(*trial));
	trial->variant = variant;
	trial->functions = trial->variant->functions;
	assert_int_equal(trial->variant->create(&trial->store), 0);
	delta_model_init(&trial->model);
}

void store_trial_end(struct store_trial *trial)
{
	trial->functions->destroy(trial->store);
	delta_model_destroy(&trial->model);
	free(trial->entries);
}

void store_trial_merge(struct store_trial *trial)
{
	if (trial->variant->merge)
		trial->variant->merge(trial->store);
}

void store_trial_check(struct store_trial *trial)
{
	struct store_statistics statistics;
	struct delta_nets nets;
	uint64_t pending;

	store_trial_merge(trial);
	trial->functions->statistics(trial->store, &statistics);
	pending = trial->functions->pending(trial->store);
	assert_int_equal(statistics.recorded, statistics.merged + statistics.run + pending);
	assert_int_equal(pending != 0, statistics.pending_bytes != 0);
	assert_int_equal(pending != 0, statistics.oldest_time != 0);
	assert_true(statistics.pending_bytes >= pending * sizeof(struct rs_delta));
	if (!trial->variant->exact)
		return;
	delta_model_net(&trial->model, DELTA_MODEL_ALL, UINT64_MAX, true, &nets);
	assert_int_equal(pending, nets.count);
	delta_nets_destroy(&nets);
}

void store_trial_append(struct store_trial *trial, const struct rs_delta *delta)
{
	assert_int_equal(trial->functions->append(trial->store, delta), 0);
	delta_model_add(&trial->model, delta);
}

struct rs_delta store_trial_delta(uint64_t bytenr, enum rs_delta_type type, uint64_t root,
				  int32_t count, uint64_t seq)
{
	return (struct rs_delta){
		.bytenr = bytenr,
		.root = root,
		.count = count,
		.length_4k = 1,
		.seq_type = seq << 8 | (uint64_t)type,
	};
}

void store_trial_change(struct store_trial *trial, uint64_t bytenr, enum rs_delta_type type,
			uint64_t root, int32_t count, uint64_t seq)
{
	const struct rs_delta delta = store_trial_delta(bytenr, type, root, count, seq);

	store_trial_append(trial, &delta);
}

static void keep(struct store_trial *trial, const struct rs_delta *deltas, size_t count)
{
	size_t at;

	if (trial->count + count > trial->capacity) {
		trial->capacity = 2 * (trial->count + count);
		trial->entries = realloc(trial->entries, trial->capacity * sizeof(*trial->entries));
		assert_non_null(trial->entries);
	}
	for (at = 0; at < count; at++)
		trial->entries[trial->count++] = deltas[at];
}

int store_trial_runner(void *argument, const struct rs_head *head)
{
	struct store_trial *trial = argument;
	int ret;

	trial->broken += !delta_head_is_well_formed(head);
	trial->broken += head->transaction != 3;
	trial->broken += head->bytenr < trial->bytenr;
	trial->bytenr = head->bytenr + 1;
	if (trial->look) {
		ret = trial->look(trial, head);
		if (ret)
			return ret;
	}
	if (trial->heads + 1 == trial->fail_at) {
		trial->failed_bytenr = head->bytenr;
		return -EDOM;
	}
	trial->heads++;
	keep(trial, head->refs, head->ref_count);
	keep(trial, head->roots, head->root_count);
	return 0;
}

int store_trial_run(struct store_trial *trial, uint64_t cut)
{
	struct rs_run_result result = { .cut = 9, .heads = 100, .entries = 200 };
	const struct store_run run = { cut, 3, store_trial_runner, trial, &result, 0 };
	int ret;

	trial->count = 0;
	trial->bytenr = 0;
	trial->heads = 0;
	ret = trial->functions->run(trial->store, &run);
	assert_int_equal(trial->broken, 0);
	assert_int_equal(result.heads, 100 + trial->heads);
	assert_int_equal(result.entries, 200 + trial->count);
	return ret;
}

int store_trial_run_check(struct store_trial *trial, uint64_t cut)
{
	uint64_t below = DELTA_MODEL_ALL;
	struct delta_nets nets;
	size_t at;
	int ret;

	delta_model_net(&trial->model, DELTA_MODEL_ALL, cut, false, &nets);
	ret = store_trial_run(trial, cut);
	for (at = 0; at < trial->count; at++) {
		assert_true(delta_nets_see(&nets, &trial->entries[at]));
		assert_true(rs_delta_seq(&trial->entries[at]) <= cut);
	}
	if (ret) {
		assert_int_equal(ret, -EDOM);
		below = trial->failed_bytenr;
		for (at = 0; at < nets.count; at++)
			nets.nets[at].seen |= nets.nets[at].key[0] >= below;
	}
	assert_true(delta_nets_all_seen(&nets));
	delta_nets_destroy(&nets);
	delta_model_forget(&trial->model, cut, below);
	store_trial_check(trial);
	return ret;
}

void store_trial_lookup(struct store_trial *trial, uint64_t bytenr, uint64_t seq_max,
			size_t capacity)
{
	struct rs_delta entries[64];
	struct rs_head_pending pending;
	struct rs_head_pending sums = { .refs = 0 };
	struct delta_nets nets;
	size_t at;
	int ret;

	store_trial_merge(trial);
	delta_model_net(&trial->model, bytenr, seq_max, false, &nets);
	ret = trial->functions->lookup(trial->store, bytenr, seq_max, &pending, entries, capacity);
	for (at = 0; at < nets.count; at++) {
		bool root = nets.nets[at].key[1] == RS_DELTA_ROOT;

		*(root ? &sums.items : &sums.refs) += nets.nets[at].count;
		sums.reserved += nets.nets[at].reserved;
	}
	assert_int_equal(pending.refs, sums.refs);
	assert_int_equal(pending.items, sums.items);
	assert_int_equal(pending.reserved, sums.reserved);
	assert_false(pending.running);
	assert_true(pending.entries >= nets.count);
	if (nets.count > capacity)
		assert_int_equal(ret, -E2BIG);
	if (ret) {
		assert_int_equal(ret, -E2BIG);
	} else {
		assert_int_equal(pending.entries, nets.count);
		for (at = 0; at < nets.count; at++)
			assert_true(delta_nets_see(&nets, &entries[at]));
	}
	delta_nets_destroy(&nets);
}

void store_trial_fill(struct store_trial *trial, uint64_t first, uint64_t count, uint64_t spread,
		      uint64_t seq)
{
	uint64_t at;

	for (at = first; at < first + count; at++) {
		struct rs_delta delta = store_trial_delta((at * 7919 % spread) * 4096,
							  RS_DELTA_EXTENT_DATA_REF, 5, 1, seq);

		delta.owner = at / spread;
		assert_int_equal(trial->functions->append(trial->store, &delta), 0);
	}
}

void store_trial_run_count(struct store_trial *trial, uint64_t cut, uint64_t heads,
			   uint64_t entries, uint64_t left)
{
	assert_int_equal(store_trial_run(trial, cut), 0);
	assert_int_equal(trial->heads, heads);
	assert_int_equal(trial->count, entries);
	store_trial_merge(trial);
	assert_int_equal(trial->functions->pending(trial->store), left);
}
