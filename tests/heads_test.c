/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/delayed/heads.h"
#include "tests/support/delta_model.h"
#include "tests/support/record_case.h"
#include "tests/support/threads.h"

#define TOP UINT64_C(0xfffffffffffff000)
#define MIB (UINT64_C(1) << 20)
#define ALL UINT64_MAX
#define EXTENTS 6U
#define LOOKUP_ENTRIES 64

static struct block_cache cache;
static struct heads heads;
static struct record_heads taken;
static struct rs_run_result result;

static void heads_begin(void)
{
	rcu_thread_enroll();
	block_cache_init(&cache, 1 << 20);
	assert_int_equal(heads_init(&heads, &cache), 0);
}

static void heads_end(void)
{
	heads_destroy(&heads);
	rcu_defer_barrier();
	block_cache_destroy(&cache);
	rcu_thread_leave();
}

static struct rs_delta at_seq(struct rs_delta delta, uint64_t seq)
{
	delta.seq_type |= seq << 8;
	return delta;
}

static struct sequence_groups groups_of(const uint64_t *last, unsigned count)
{
	struct sequence_groups groups = { .count = count };

	memcpy(groups.last, last, count * sizeof(*last));
	return groups;
}

static void result_range(struct batch_result *batch, const struct rs_delta *entries, size_t count)
{
	size_t at;

	for (at = 0; at < count; at++) {
		uint64_t seq = rs_delta_seq(&entries[at]);

		batch->seq_first = seq < batch->seq_first ? seq : batch->seq_first;
		batch->seq_last = seq > batch->seq_last ? seq : batch->seq_last;
	}
}

/* Installs a batch as a merge does. 0 or -ENOMEM, and then nothing has happened. */
static int install(struct batch *batch, const struct sequence_groups *groups,
		   const struct rs_delta *deltas, size_t count, uint64_t since)
{
	const struct batch_span span = { deltas, count };
	struct heads_block *block = heads_block_create(&heads, DELTA_PARTS, count);
	struct batch_result made;

	if (!block)
		return -ENOMEM;
	if (batch_merge(batch, groups, &span, 1, heads_block_entries(block), &made)) {
		heads_block_discard(block);
		return -ENOMEM;
	}
	made.seq_first = UINT64_MAX;
	made.seq_last = 0;
	result_range(&made, made.refs, made.ref_begin[DELTA_PARTS]);
	result_range(&made, made.roots, made.root_begin[DELTA_PARTS]);
	heads_install(&heads, block, &made, since);
	return 0;
}

static void install_one(const struct sequence_groups *groups, struct rs_delta delta, uint64_t since)
{
	struct batch *batch;

	assert_int_equal(batch_create(&batch), 0);
	assert_int_equal(install(batch, groups, &delta, 1, since), 0);
	batch_destroy(batch);
}

static int64_t refs_at(uint64_t bytenr, uint64_t seq_max)
{
	struct rs_delta entries[LOOKUP_ENTRIES];
	struct rs_head_pending pending;

	assert_int_equal(heads_lookup(&heads, bytenr, seq_max, &pending, entries, LOOKUP_ENTRIES),
			 0);
	assert_false(pending.running);
	return pending.refs;
}

static int run_to(uint64_t cut, size_t fail_at)
{
	const struct store_run order = {
		.cut = cut,
		.transaction = 7,
		.run = record_heads_take,
		.argument = &taken,
		.result = &result,
	};

	taken.head_count = 0;
	taken.entry_count = 0;
	taken.fail_at = fail_at;
	memset(&result, 0, sizeof(result));
	return heads_run(&heads, &order);
}

static unsigned runs_of(uint64_t bytenr)
{
	struct heads_run *run = order_load_relaxed(&heads.parts[delta_part(bytenr)].runs);
	unsigned runs = 0;

	for (; run; run = order_load_relaxed(&run->next))
		runs++;
	return runs;
}

static void what_is_installed_is_found(void **state)
{
	const struct sequence_groups none = { 0 };
	struct rs_head_pending pending;
	struct rs_delta entries[2];

	(void)state;
	heads_begin();
	assert_int_equal(heads_since(&heads), UINT64_MAX);
	assert_int_equal(refs_at(TOP, ALL), 0);
	install_one(&none, at_seq(record_ref(TOP, 5, 1), 3), 1000);
	install_one(&none, at_seq(record_ref(TOP, 5, 2), 5), 500);
	install_one(&none, at_seq(record_ref(TOP, 6, -1), 5), 900);
	install_one(&none, at_seq(record_root(TOP, 5, -1, 4096), 9), 2000);
	install_one(&none, at_seq(record_ref(0, 5, 7), 5), 2000);
	assert_int_equal(heads_since(&heads), 500);
	assert_int_equal(refs_at(TOP, 2), 0);
	assert_int_equal(refs_at(TOP, 3), 1);
	assert_int_equal(refs_at(TOP, 5), 2);
	assert_int_equal(refs_at(0, 5), 7);
	assert_int_equal(refs_at(4096, ALL), 0);
	assert_int_equal(heads_lookup(&heads, TOP, ALL, &pending, entries, 2), -E2BIG);
	assert_int_equal(pending.refs, 2);
	assert_int_equal(pending.items, -1);
	assert_int_equal(pending.reserved, 4096);
	/* Room for as many is enough; there are 3 keys. */
	assert_in_range(pending.entries, 3, 4);
	assert_int_equal(run_to(9, 0), 0);
	assert_int_equal(result.heads, 2);
	assert_int_equal(result.entries, 4);
	assert_int_equal(taken.heads[1].bytenr, TOP);
	assert_int_equal(taken.heads[1].transaction, 7);
	assert_int_equal(refs_at(TOP, ALL), 0);
	assert_int_equal(heads_since(&heads), UINT64_MAX);
	heads_end();
}

/* Folding keeps what any group's end sees, and forgets what nobody can tell apart. */
static void folding_keeps_groups_apart(void **state)
{
	static const uint64_t last[] = { 10, 20 };
	const struct sequence_groups none = { 0 };
	const struct sequence_groups groups = groups_of(last, 2);
	uint64_t seq;

	(void)state;
	heads_begin();
	for (seq = 1; seq <= 25; seq++) {
		install_one(&none, at_seq(record_ref(MIB, 5, 1), seq), seq);
		install_one(&none, at_seq(record_ref(MIB, 6, seq % 2 ? 1 : -1), seq), seq);
	}
	assert_int_equal(runs_of(MIB), 50);
	assert_int_equal(heads_fold(&heads, &groups), 0);
	/* 10 each of the groups, and those in none for themselves. */
	assert_int_equal(runs_of(MIB), 1);
	assert_int_equal(order_load_relaxed(&heads.entries), 2 + 5 + 5);
	assert_int_equal(order_load_relaxed(&heads.merged), 50 - 12);
	assert_int_equal(refs_at(MIB, 9), 0);
	assert_int_equal(refs_at(MIB, 10), 10);
	assert_int_equal(refs_at(MIB, 20), 20);
	assert_int_equal(refs_at(MIB, 23), 24);
	assert_int_equal(refs_at(MIB, ALL), 26);
	assert_int_equal(heads_since(&heads), 1);
	assert_int_equal(heads_fold(&heads, &groups), 0);
	assert_int_equal(run_to(20, 0), 0);
	assert_int_equal(taken.entries[0].count, 20);
	assert_int_equal(result.entries, 1);
	assert_int_equal(refs_at(MIB, ALL), 6);
	assert_int_equal(run_to(25, 0), 0);
	assert_int_equal(result.entries, 2);
	heads_end();
}

/* An entry is folded again only with as many as it stands among. */
static void runs_stay_few(void **state)
{
	static const uint64_t last[] = { 1 };
	const struct sequence_groups groups = groups_of(last, 1);
	unsigned at;

	(void)state;
	heads_begin();
	for (at = 0; at < 512; at++) {
		install_one(&groups, at_seq(record_ref(MIB + 4096 * (at % 256), at, 1), 1), 1);
		assert_int_equal(heads_fold(&heads, &groups), 0);
		assert_in_range(runs_of(MIB), 1, 10);
	}
	assert_int_equal(order_load_relaxed(&heads.entries), 512);
	/* What cancels all of it leaves nothing, neither entries nor runs. */
	for (at = 0; at < 512; at++)
		install_one(&groups, at_seq(record_ref(MIB + 4096 * (at % 256), at, -1), 1), 1);
	assert_int_equal(heads_fold(&heads, &groups), 0);
	assert_int_equal(order_load_relaxed(&heads.entries), 0);
	assert_int_equal(runs_of(MIB), 0);
	heads_end();
}

/* A small one before each fold: what stands behind it is folded all the same. */
static void runs_stay_few_behind_small_ones(void **state)
{
	const struct sequence_groups groups = groups_of((const uint64_t[]){ 1 }, 1);
	struct rs_delta deltas[64];
	struct batch *batch;
	unsigned at;

	(void)state;
	heads_begin();
	assert_int_equal(batch_create(&batch), 0);
	for (at = 0; at < 64; at++)
		deltas[at] = at_seq(record_ref(MIB + 4096 * at, at, 1), 1);
	for (at = 1; at <= 400; at++) {
		assert_int_equal(install(batch, &groups, deltas, at % 8 ? 64 : 4, 1), 0);
		assert_int_equal(at % 8 ? 0 : heads_fold(&heads, &groups), 0);
		assert_in_range(runs_of(MIB), 1, 24);
	}
	batch_destroy(batch);
	heads_end();
}

/* Heads over all parts, several times round, and far apart. */
static void heads_are_run_by_address(void **state)
{
	const struct sequence_groups none = { 0 };
	struct random_state random;
	unsigned at;

	(void)state;
	heads_begin();
	random_state_seed(&random, 1, 0);
	for (at = 0; at < 500; at++) {
		uint64_t bits = 13 + random_state_below(&random, 51);
		uint64_t bytenr = random_state_next(&random) >> (64 - bits) & ~UINT64_C(4095);

		install_one(&none, at_seq(record_ref(bytenr, at, 1), 1 + at % 3), 1);
	}
	install_one(&none, at_seq(record_ref(TOP, 1, 1), 1), 1);
	install_one(&none, at_seq(record_ref(0, 1, 1), 1), 1);
	assert_int_equal(run_to(3, 0), 0);
	assert_int_equal(result.entries, 502);
	assert_int_equal(taken.heads[0].bytenr, 0);
	assert_int_equal(taken.heads[result.heads - 1].bytenr, TOP);
	for (at = 1; at < result.heads; at++)
		assert_true(taken.heads[at - 1].bytenr < taken.heads[at].bytenr);
	heads_end();
}

/* It fails at each head in turn; then less is run, more comes, runs are folded, and the rest is run. */
static void a_failed_run_is_continued(void **state)
{
	static const uint64_t bytenrs[] = { 0, MIB, MIB + 4096, 65 * MIB, TOP };
	static const uint64_t last[] = { 4, 8 };
	const struct sequence_groups groups = groups_of(last, 2);
	size_t fail_at;
	size_t at;

	(void)state;
	for (fail_at = 1; fail_at <= 5; fail_at++) {
		heads_begin();
		for (at = 0; at < 5; at++) {
			install_one(&groups, at_seq(record_ref(bytenrs[at], 5, 1), 4), 1);
			install_one(&groups, at_seq(record_ref(bytenrs[at], 5, 2), 8), 1);
			install_one(&groups, at_seq(record_ref(bytenrs[at], 5, 4), 9), 1);
		}
		assert_int_equal(run_to(8, fail_at), -EIO);
		assert_int_equal(result.heads, fail_at - 1);
		install_one(&groups, at_seq(record_ref(MIB, 5, 8), 10), 1);
		if (fail_at % 2)
			assert_int_equal(heads_fold(&heads, &groups), 0);
		for (at = 0; at < 5; at++) {
			int64_t more = 4 + 8 * (at == 1);

			assert_int_equal(refs_at(bytenrs[at], 4), at + 1 >= fail_at);
			assert_int_equal(refs_at(bytenrs[at], 8), at + 1 >= fail_at ? 3 : 0);
			assert_int_equal(refs_at(bytenrs[at], ALL),
					 more + (at + 1 >= fail_at ? 3 : 0));
		}
		assert_int_equal(run_to(4, 0), 0);
		assert_int_equal(result.heads, 6 - fail_at);
		assert_int_equal(taken.entries[0].count, 1);
		assert_int_equal(run_to(8, 0), 0);
		assert_int_equal(result.heads, 6 - fail_at);
		assert_int_equal(taken.entries[0].count, 2);
		assert_int_equal(taken.heads[0].bytenr, bytenrs[fail_at - 1]);
		assert_int_equal(run_to(10, 0), 0);
		assert_int_equal(result.heads, 5);
		assert_int_equal(taken.entries[1].count, 12);
		assert_int_equal(order_load_relaxed(&heads.entries), 0);
		heads_end();
	}
}

/* Random histories against a model: as in record_model_test, but cuts may go down again. */
static struct {
	struct random_state random;
	struct delta_model pending;
	struct batch *batch;
	struct sequence_groups groups; /* ascending, all that there ever were */
	uint64_t installed;
	uint64_t run;
	uint64_t top;  /* no number up to it comes any more */
	uint64_t next; /* of the run: heads below it are behind */
	uint64_t cut;
	unsigned fail_in;
	unsigned wrong;
} model;

static int model_head(void *unused, const struct rs_head *head)
{
	struct delta_nets nets;
	size_t at;

	(void)unused;
	delta_model_net(&model.pending, head->bytenr, model.cut, false, &nets);
	for (at = 0; at < head->ref_count; at++)
		model.wrong += !delta_nets_see(&nets, &head->refs[at]);
	for (at = 0; at < head->root_count; at++)
		model.wrong += !delta_nets_see(&nets, &head->roots[at]);
	model.wrong += !delta_nets_all_seen(&nets) || !delta_head_is_well_formed(head);
	model.wrong += head->bytenr < model.next;
	delta_nets_destroy(&nets);
	if (model.fail_in && !--model.fail_in)
		return -EIO;
	model.next = head->bytenr + 1;
	delta_model_forget(&model.pending, model.cut, model.next);
	model.run += head->ref_count + head->root_count;
	return 0;
}

static int model_run(uint64_t cut, bool may_fail)
{
	const struct store_run order = { .cut = cut, .run = model_head, .result = &result };
	struct delta_nets nets;
	int outcome;

	memset(&result, 0, sizeof(result));
	model.top = cut > model.top ? cut : model.top;
	model.cut = cut;
	model.next = 0;
	model.fail_in = 0;
	if (may_fail && random_state_chance(&model.random, 1, 2))
		model.fail_in = 1 + (unsigned)random_state_below(&model.random, EXTENTS);
	outcome = heads_run(&heads, &order);
	assert_int_equal(model.wrong, 0);
	if (outcome)
		return outcome;
	/* What was passed over comes to nothing. */
	delta_model_net(&model.pending, DELTA_MODEL_ALL, cut, false, &nets);
	assert_int_equal(nets.count, 0);
	delta_nets_destroy(&nets);
	delta_model_forget(&model.pending, cut, ALL);
	return 0;
}

static void model_install(void)
{
	struct rs_delta deltas[20];
	uint64_t since = 1 + random_state_below(&model.random, 100);
	size_t count = 1 + random_state_below(&model.random, 20);
	size_t at;

	for (at = 0; at < count; at++)
		delta_random(&model.random, EXTENTS,
			     model.top + 1 + random_state_below(&model.random, 12), &deltas[at]);
	if (install(model.batch, &model.groups, deltas, count, since)) {
		assert_true(alloc_fail_count() > 0);
		return;
	}
	model.installed += count;
	for (at = 0; at < count; at++)
		delta_model_add(&model.pending, &deltas[at]);
}

static void model_lookup(uint64_t seq_max)
{
	uint64_t bytenr = random_state_below(&model.random, EXTENTS) * MIB;
	struct rs_delta entries[LOOKUP_ENTRIES];
	struct rs_head_pending pending;
	struct delta_nets nets;
	size_t at;

	delta_model_net(&model.pending, bytenr, seq_max, false, &nets);
	assert_int_equal(heads_lookup(&heads, bytenr, seq_max, &pending, entries, LOOKUP_ENTRIES),
			 0);
	assert_int_equal(pending.entries, nets.count);
	for (at = 0; at < pending.entries; at++)
		assert_true(delta_nets_see(&nets, &entries[at]));
	assert_true(delta_nets_all_seen(&nets));
	delta_nets_destroy(&nets);
}

/* A number past all that were cut, so that none that is pending was told apart less finely. */
static void model_group(void)
{
	struct sequence_groups *groups = &model.groups;
	uint64_t highest = groups->count ? groups->last[groups->count - 1] : 0;

	if (highest <= model.top && groups->count < SEQUENCE_GROUPS_MAX)
		groups->last[groups->count++] =
			model.top + 1 + random_state_below(&model.random, 12);
}

static uint64_t model_cut(void)
{
	unsigned count = model.groups.count;

	if (!count)
		return 0;
	return model.groups
		.last[count - 1 - random_state_below(&model.random, count < 3 ? count : 3)];
}

static void histories_are_as_the_model_says(void **state)
{
	unsigned step;

	(void)state;
	heads_begin();
	memset(&model, 0, sizeof(model));
	random_state_seed(&model.random, threads_data_seed("heads_test"), 0);
	delta_model_init(&model.pending);
	assert_int_equal(batch_create(&model.batch), 0);
	for (step = 0; step < 4000; step++) {
		uint64_t what = random_state_below(&model.random, 10);
		int outcome = 0;

		if (random_state_chance(&model.random, 1, 3))
			alloc_fail_arm(1 + random_state_below(&model.random, 6), step % 2);
		if (what < 5)
			model_install();
		else if (what < 6)
			model_group();
		else if (what < 8)
			outcome = heads_fold(&heads, &model.groups);
		else
			outcome = model_run(model_cut(), true);
		assert_true(!outcome || outcome == -EIO ||
			    (outcome == -ENOMEM && alloc_fail_count()));
		alloc_fail_arm(0, 0);
		model_lookup(ALL);
		model_lookup(model_cut());
	}
	assert_int_equal(model_run(model.top + 100, false), 0);
	assert_int_equal(model.pending.count, 0);
	assert_int_equal(order_load_relaxed(&heads.run), model.run);
	assert_int_equal(order_load_relaxed(&heads.entries), 0);
	assert_int_equal(order_load_relaxed(&heads.merged) + model.run, model.installed);
	assert_true(model.run > 500);
	batch_destroy(model.batch);
	delta_model_destroy(&model.pending);
	heads_end();
}

#define LOOKERS 3U
#define ROUNDS 1500U

/*
 * One thread installs, folds and runs; look-ups go on. An extent first has one reference more, in
 * a run that fails before it comes to it, then one less, so that it comes to nothing. Whatever a
 * look-up says was so at some moment: there are 0 references of it, or 1.
 */
static struct {
	order_u32 done;  /* relaxed: a hint to stop */
	order_u32 wrong; /* relaxed, as the others: read when the threads are joined */
	order_u32 ones;  /* look-ups that found 1 */
	order_u32 failures;
} moment;

static int moment_head(void *argument, const struct rs_head *head)
{
	return argument && head->bytenr == 3 * MIB ? -EIO : 0;
}

static int moment_run(uint64_t cut, bool fail)
{
	struct rs_run_result ignored = { 0 };
	const struct store_run order = {
		.cut = cut,
		.run = moment_head,
		.argument = fail ? &moment : NULL,
		.result = &ignored,
	};

	return heads_run(&heads, &order);
}

static void moment_round(struct batch *batch, uint64_t seq)
{
	const struct sequence_groups groups = { .count = 2, .last = { seq, seq + 1 } };
	const struct rs_delta first[] = {
		at_seq(record_ref(MIB, 5, 1), seq),
		at_seq(record_ref(3 * MIB, 5, 1), seq),
	};
	const struct rs_delta other = at_seq(record_ref(67 * MIB, 5, 1), seq);
	const struct rs_delta second = at_seq(record_ref(3 * MIB, 5, -1), seq + 1);
	unsigned wrong = 0;

	wrong += install(batch, &groups, first, 2, 1) != 0;
	wrong += install(batch, &groups, &other, 1, 1) != 0;
	wrong += moment_run(seq, true) != -EIO;
	if (seq % 4 == 1)
		wrong += heads_fold(&heads, &groups) != 0;
	wrong += install(batch, &groups, &second, 1, 1) != 0;
	if (seq % 8 == 1)
		wrong += heads_fold(&heads, &groups) != 0;
	wrong += moment_run(seq + 1, false) != 0;
	order_fetch_add_relaxed(&moment.failures, wrong);
}

static void moment_main(void *argument, unsigned thread)
{
	struct rs_head_pending pending;
	uint64_t seq;

	if (!thread) {
		for (seq = 1; seq < 2 * ROUNDS; seq += 2)
			moment_round(argument, seq);
		order_store_relaxed(&moment.done, 1);
	}
	while (!order_load_relaxed(&moment.done)) {
		(void)!heads_lookup(&heads, 3 * MIB, ALL, &pending, NULL, 0);
		/* In the runner's hands it may count or not. */
		if (pending.running)
			continue;
		order_fetch_add_relaxed(&moment.wrong, pending.refs != 0 && pending.refs != 1);
		order_fetch_add_relaxed(&moment.ones, pending.refs == 1);
	}
}

static void lookups_are_of_one_moment(void **state)
{
	struct batch *batch;

	(void)state;
	heads_begin();
	memset(&moment, 0, sizeof(moment));
	assert_int_equal(batch_create(&batch), 0);
	threads_stalls_begin("heads.", threads_timing_seed("heads_test"), 40, 100);
	threads_run(1 + LOOKERS, moment_main, batch);
	threads_stalls_end();
	threads_stalls_assert_passed("heads.looking");
	assert_int_equal(order_load_relaxed(&moment.wrong), 0);
	assert_int_equal(order_load_relaxed(&moment.failures), 0);
	assert_true(order_load_relaxed(&moment.ones) > 0);
	assert_int_equal(order_load_relaxed(&heads.entries), 0);
	batch_destroy(batch);
	heads_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_installed_is_found),
		cmocka_unit_test(folding_keeps_groups_apart),
		cmocka_unit_test(runs_stay_few),
		cmocka_unit_test(runs_stay_few_behind_small_ones),
		cmocka_unit_test(heads_are_run_by_address),
		cmocka_unit_test(a_failed_run_is_continued),
		cmocka_unit_test(histories_are_as_the_model_says),
		cmocka_unit_test(lookups_are_of_one_moment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
