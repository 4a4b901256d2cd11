/* SPDX-License-Identifier: MIT */
#include "stress/forest/round_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/error.h"
#include "refstorm/quota.h"
#include "stress/oracle/recount.h"

static uint64_t digest_add(uint64_t digest, uint64_t value)
{
	return (digest ^ value) * UINT64_C(0x9e3779b97f4a7c15) + (digest >> 29) + 1;
}

static uint64_t digest_text(uint64_t digest, const char *text)
{
	for (; *text; text++)
		digest = digest_add(digest, (unsigned char)*text);
	return digest_add(digest, 0);
}

void round_check_finding(void *argument, const char *text)
{
	struct round *round = argument;
	struct board *board = round->board;
	size_t length = strlen(board->finding);

	fprintf(stderr, "%s\n", text);
	if (length < sizeof(board->finding))
		snprintf(board->finding + length, sizeof(board->finding) - length, "%s\n", text);
}

/* Names, in the order of ids, and numbers, and no address: that depends on which thread asked first. */
void round_check_counted(void *argument, const struct recount *recount)
{
	struct round *round = argument;
	uint64_t digest = round->state_digest;
	const struct recount_root *roots;
	const struct recount_size *sizes;
	size_t count;
	size_t at;

	roots = recount_roots(recount, &count);
	for (at = 0; at < count; at++) {
		const struct rs_subvol *subvol = rs_subvol_find_id(round->forest, roots[at].root);
		const char *name = subvol ? rs_subvol_name(subvol) : NULL;

		digest = digest_text(digest, name ? name : "");
		digest = digest_add(digest, roots[at].rfer);
		digest = digest_add(digest, roots[at].excl);
		digest = digest_add(digest, roots[at].data_rfer);
		digest = digest_add(digest, roots[at].data_excl);
	}
	sizes = recount_sizes(recount, &count);
	for (at = 0; at < count; at++) {
		digest = digest_add(digest, sizes[at].bytes);
		digest = digest_add(digest, sizes[at].count);
	}
	round->state_digest = digest;
}

/* Inconsistent accounts say why, or it is a count that has ended for want of memory; and a rescan mends them. */
static int mend_accounts(struct round *round, struct rs_error *error)
{
	struct rs_error why = RS_ERROR_INIT;
	struct rs_quota_status status;
	int ended = rs_rescan_wait(round->forest);
	int ret;

	rs_quota_status_read(round->forest, &status);
	if (!status.enabled || !status.inconsistent)
		return 0;
	ret = rs_quota_reason(round->forest, &why);
	if (ret ? ret != why.code || !why.what[0] : ended != -ENOMEM)
		return error_set(error, -EUCLEAN, "check: accounts inconsistent without a reason");
	ret = rs_rescan_start(round->forest);
	if (!ret)
		ret = rs_rescan_wait(round->forest);
	if (ret)
		return error_set(error, -EUCLEAN, "check: a rescan does not mend the accounts: %s",
				 strerror(-ret));
	if (rs_quota_reason(round->forest, &why))
		return error_set(error, -EUCLEAN,
				 "check: accounts inconsistent behind a rescan: %s", why.what);
	return 0;
}

/* With memory again, before the check: a commit that had none may have left accounts behind. */
static int settle_refused(struct round *round, struct rs_error *error)
{
	struct rs_writer *writer;
	int ret = rs_writer_join(round->forest, &writer);

	if (!ret) {
		ret = rs_forest_drop_wait(writer);
		if (!ret)
			ret = rs_forest_commit(writer);
		rs_writer_leave(writer);
	}
	if (ret)
		return error_set(error, -EUCLEAN,
				 "check: cannot commit, with memory to be had again: %s",
				 strerror(-ret));
	return mend_accounts(round, error);
}

static void count_checks(struct round *round)
{
	struct script_oracle_counts counts;

	script_oracle_counts_read(round->oracle, &counts);
	/* Relaxed, all: see board.h. */
	order_store_relaxed(&round->board->recounts, counts.recounts);
	order_store_relaxed(&round->board->groups, counts.groups);
	order_store_relaxed(&round->board->references, counts.references);
	order_store_relaxed(&round->board->actions, counts.actions);
	order_store_relaxed(&round->board->state_digest, round->state_digest);
}

int round_check(void *argument, struct rs_error *error)
{
	struct round *round = argument;
	bool refused = round->refusals.kind != REFUSALS_NONE;
	int ret = 0;

	board_step(round->board, "in a check");
	refusals_pause(&round->refusals);
	/* Aborted: what is committed is checked at the end, and does not change up to then. */
	if (!refused || !rs_forest_aborted(round->forest, NULL)) {
		if (refused)
			ret = settle_refused(round, error);
		if (!ret)
			ret = script_oracle_check(round->oracle, error);
	}
	count_checks(round);
	board_step(round->board, "runs the script");
	refusals_resume(&round->refusals);
	return ret;
}

/* What is committed stays, nothing can be changed, and numbers of groups can be read. */
static int check_aborted(struct round *round, struct rs_error *error)
{
	struct rs_group_usage usage;
	struct rs_writer *writer;
	uint64_t id = 0;
	int ret = rs_writer_join(round->forest, &writer);

	/* Relaxed: see board.h. */
	order_store_relaxed(&round->board->aborted, 1);
	if (ret)
		return error_set(error, ret, "the end: %s", strerror(-ret));
	ret = rs_forest_commit(writer);
	rs_writer_leave(writer);
	if (ret != -EROFS)
		return error_set(error, -EUCLEAN, "a commit behind an aborted one: %s",
				 strerror(-ret));
	(void)!rs_rescan_wait(round->forest);
	while (!(ret = rs_group_next(round->forest, &id)))
		if (rs_group_read(round->forest, id, &usage))
			return error_set(error, -EUCLEAN, "group %" PRIu64 " cannot be read", id);
	if (ret != -ENOENT && ret != -ENOTCONN)
		return error_set(error, -EUCLEAN, "groups cannot be read: %s", strerror(-ret));
	return script_oracle_check_committed(round->oracle, error);
}

/* All subvolumes that the script has made are gone, and what they had is. */
static bool leaks(struct round *round, struct rs_error *error)
{
	const struct rs_forest_statistics *begin = &round->begin;
	struct rs_forest_statistics end;

	/* Relaxed: all threads have ended. Then some may be there. */
	if (order_load_relaxed(&round->refusals.diverged))
		return false;
	rs_forest_statistics_read(round->forest, &end);
	/* An image may have had trees that waited to be taken apart, and tree blocks of its own shape. */
	if (end.data_bytes <= begin->data_bytes && end.dropping == 0 &&
	    (round->options->image_count ||
	     (end.data_bytes == begin->data_bytes && end.extents == begin->extents &&
	      end.subvols == begin->subvols)))
		return false;
	error_set(error, -EUCLEAN,
		  "all subvolumes are deleted and %" PRIu64 " extents are left, %" PRIu64
		  " bytes of data; at the beginning: %" PRIu64 ", %" PRIu64 " bytes",
		  end.extents, end.data_bytes, begin->extents, begin->data_bytes);
	return true;
}

enum board_outcome round_check_end(struct round *round, bool failed, struct rs_error *error)
{
	bool aborted = rs_forest_aborted(round->forest, NULL);
	struct rs_error ignored = RS_ERROR_INIT;

	board_step(round->board, "in the check at the end");
	refusals_pause(&round->refusals);
	/* Relaxed: see board.h. */
	order_store_relaxed(&round->board->refused, refusals_made(&round->refusals));
	if (failed) {
		/* What refverify has found may be why: it stands in the findings then. */
		if (aborted)
			(void)!script_oracle_check_committed(round->oracle, &ignored);
		count_checks(round);
		return BOARD_WRONG;
	}
	if (aborted && check_aborted(round, error))
		failed = true;
	count_checks(round);
	if (failed)
		return BOARD_WRONG;
	return !aborted && leaks(round, error) ? BOARD_LEAKS : BOARD_DONE;
}
