// SPDX-License-Identifier: MIT
#include "cli/bench_check.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "core/base/error.h"
#include "core/base/rcu.h"
#include "refstorm/quota.h"
#include "stress/oracle/recount.h"
#include "stress/oracle/recount_groups.h"

/* For the groups the oracle reads each root for itself: up to so many items, some seconds. */
#define CHECK_ITEMS_MAX (UINT64_C(4) << 20)

static int call_failed(struct rs_error *error, int result, const char *what)
{
	return error_set(error, result, "%s: %s", what, strerror(-result));
}

/* Counts once; `*items` is about what all roots read for themselves would be. */
static int count_again(struct rs_forest *forest, bool holdings, uint64_t *items,
		       struct rs_error *error)
{
	const struct recount_options options = { .references = !holdings, .holdings = holdings };
	struct recount_groups_done done = { 0 };
	const struct recount_report *report;
	struct recount *recount;
	int result = recount_create(forest, &options, &recount);

	if (!result && holdings)
		result = recount_groups_compare(recount, &done);
	if (result) {
		if (recount)
			recount_destroy(recount);
		return call_failed(error, result, "the oracle");
	}
	report = recount_report(recount);
	if (report->finding_count)
		result = error_set(error, -EUCLEAN, "the oracle found %" PRIu64 " faults: %s: %s",
				   report->finding_count,
				   recount_kind_name(report->findings[0].kind),
				   report->findings[0].text);
	else if (holdings && !done.groups)
		result = error_set(error, -EUCLEAN, "the oracle found no group to compare");
	*items = report->roots * report->items;
	recount_destroy(recount);
	return result;
}

static int check_by_rescan(struct rs_forest *forest, struct rs_error *error)
{
	struct rs_quota_status before, after;
	int result;

	rs_quota_status_read(forest, &before);
	result = rs_rescan_start(forest);
	if (!result)
		result = rs_rescan_wait(forest);
	if (result)
		return call_failed(error, result, "a rescan");
	rs_quota_status_read(forest, &after);
	if (after.differences != before.differences)
		return error_set(error, -EUCLEAN, "a rescan found %" PRIu64 " differences",
				 after.differences - before.differences);
	if (after.rescans == before.rescans)
		return error_set(error, -EUCLEAN, "a rescan did not come to its end");
	return 0;
}

static int check_quotas(struct rs_forest *forest, uint64_t items, struct rs_error *error)
{
	struct rs_quota_status status;
	int result = rs_rescan_wait(forest);

	if (result)
		return call_failed(error, result, "a rescan");
	rs_quota_status_read(forest, &status);
	if (!status.enabled || status.inconsistent) {
		if (rs_quota_reason(forest, error))
			return -EUCLEAN;
		return error_set(error, -EUCLEAN, "quotas are %s",
				 status.enabled ? "inconsistent" : "off");
	}
	if (items > CHECK_ITEMS_MAX)
		return check_by_rescan(forest, error);
	return count_again(forest, true, &items, error);
}

int bench_check(struct rs_forest *forest, bool quotas, struct rs_error *error)
{
	uint64_t items = 0;
	int result;

	rcu_thread_enroll();
	result = count_again(forest, false, &items, error);
	if (!result && quotas)
		result = check_quotas(forest, items, error);
	rcu_thread_leave();
	return result;
}
