// SPDX-License-Identifier: MIT
#include "bench/sweep/sweep.h"

#include <errno.h>

#include "bench/sweep/child.h"
#include "core/base/alloc.h"
#include "core/base/error.h"

/* What a sweep works with. */
struct sweep {
	const struct plan *plan;
	const struct sweep_hooks *hooks;
	struct topology *topology; /* NULL: threads are not bound */
	size_t *order;             /* of the points, in this round */
	struct sample *sample;
	size_t done; /* samples, those left out too */
};

static void shuffle(struct random_state *random, size_t *order, size_t count)
{
	size_t at;

	for (at = count; at > 1; at--) {
		size_t other = random_state_below(random, at);
		size_t kept = order[at - 1];

		order[at - 1] = order[other];
		order[other] = kept;
	}
}

static int take_sample(struct sweep *sweep, size_t at, unsigned repeat, struct result *result,
		       struct sweep_outcome *outcome)
{
	const struct plan_point *point = &sweep->plan->points[at];
	char why[CHILD_WHY_BYTES] = "";

	switch (child_run(sweep->plan, point, repeat, sweep->topology, sweep->hooks->interrupted,
			  sweep->sample, why)) {
	case CHILD_GOOD:
		if (sweep->sample->operations)
			return result_add(result, at, sweep->sample);
		outcome->idle++;
		result_fail(result, at, "no operation was done");
		return 0;
	case CHILD_INTERRUPTED:
		outcome->interrupted = true;
		return 0;
	case CHILD_HUNG:
		outcome->hung++;
		break;
	case CHILD_CRASHED:
		outcome->crashed++;
		break;
	default:
		outcome->wrong++;
		break;
	}
	result_fail(result, at, why);
	return 0;
}

static int run_round(struct sweep *sweep, unsigned repeat, struct result *result,
		     struct sweep_outcome *outcome)
{
	const struct sweep_hooks *hooks = sweep->hooks;
	size_t count = sweep->plan->point_count;
	size_t turn;
	int ret = 0;

	for (turn = 0; turn < count && !ret && !outcome->interrupted; turn++, sweep->done++) {
		size_t at = sweep->order[turn];

		if (hooks->interrupted && hooks->interrupted()) {
			outcome->interrupted = true;
			break;
		}
		if (result->points[at].failed[0])
			continue;
		if (hooks->progress)
			hooks->progress(hooks->argument, sweep->done, count * sweep->plan->repeat,
					&sweep->plan->points[at]);
		ret = take_sample(sweep, at, repeat, result, outcome);
	}
	return ret;
}

int sweep_run(const struct plan *plan, const struct sweep_hooks *hooks, struct result *result,
	      struct sweep_outcome *outcome, struct rs_error *error)
{
	struct sweep sweep = { .plan = plan, .hooks = hooks };
	struct random_state random;
	unsigned repeat;
	size_t at;
	int ret = 0;

	*outcome = (struct sweep_outcome){ 0 };
	random_state_seed(&random, plan->seed, 0);
	if (plan->pin)
		ret = topology_create(&sweep.topology, error);
	if (ret)
		return ret;
	sweep.order = alloc_array(plan->point_count, sizeof(*sweep.order));
	sweep.sample = alloc_zeroed(1, sizeof(*sweep.sample));
	if (!sweep.order || !sweep.sample)
		ret = -ENOMEM;
	for (at = 0; !ret && at < plan->point_count; at++)
		sweep.order[at] = at;
	for (repeat = 0; repeat < plan->repeat && !ret && !outcome->interrupted; repeat++) {
		shuffle(&random, sweep.order, plan->point_count);
		ret = run_round(&sweep, repeat, result, outcome);
	}
	if (ret)
		error_no_memory(error, "samples");
	alloc_free(sweep.sample);
	alloc_free(sweep.order);
	topology_destroy(sweep.topology);
	return ret;
}
