/* SPDX-License-Identifier: MIT */
/* Counters as of the last commit, written by one thread and read by any. */
#include <errno.h>

#include "core/qgroup/live_groups_impl.h"

/* In the order of struct live_group_counter. */
static void group_publish(struct live_group *group)
{
	const int64_t numbers[LIVE_NUMBERS] = { group->counter.rfer, group->counter.excl,
						group->counter.data_rfer,
						group->counter.data_excl };
	/* Relaxed: this thread alone writes it, as what it stands for. */
	uint64_t sequence = order_load_relaxed(&group->sequence);
	order_u64 *current = group->published[sequence % 2];
	order_u64 *copy = group->published[(sequence + 1) % 2];
	bool same = true;
	unsigned at;

	for (at = 0; at < LIVE_NUMBERS; at++) /* Relaxed: as above. */
		same &= order_load_relaxed(&current[at]) == (uint64_t)numbers[at];
	if (same)
		return;
	for (at = 0; at < LIVE_NUMBERS; at++) {
		/* LIVE_GROUP.number: who sees it sees the sequence that made the copy invalid before. */
		order_store_release(&copy[at], (uint64_t)numbers[at]);
	}
	/* LIVE_GROUP.sequence: all numbers of the copy. */
	order_store_release(&group->sequence, sequence + 1);
}

void live_groups_publish(struct live_groups *groups)
{
	struct live_pointers *list = &groups->lists[LIVE_LIST_TOUCHED];

	while (list->count) {
		struct live_group *group = list->groups[list->count - 1];

		live_list_remove(groups, LIVE_LIST_TOUCHED, group);
		group_publish(group);
	}
}

static void group_read(struct live_group *group, uint64_t numbers[LIVE_NUMBERS])
{
	uint64_t sequence;
	unsigned at;

	/* Ends unless the group is published again and again meanwhile, once in each commit. */
	do {
		/* LIVE_GROUP.sequence: sees all numbers of the copy. */
		sequence = order_load_acquire(&group->sequence);
		for (at = 0; at < LIVE_NUMBERS; at++) {
			/* LIVE_GROUP.number: if it is a later one, the sequence below is too. */
			numbers[at] = order_load_acquire(&group->published[sequence % 2][at]);
		}
		/* Relaxed: the loads of the numbers, which are before it, order it. */
	} while (order_load_relaxed(&group->sequence) != sequence);
}

int live_groups_read(struct live_groups *groups, uint64_t id, struct rs_group_usage *usage)
{
	uint64_t numbers[LIVE_NUMBERS];
	struct live_group *group;

	rcu_thread_adopt();
	rcu_section_enter();
	group = live_group_find(groups, id);
	if (group)
		group_read(group, numbers);
	rcu_section_exit();
	if (!group)
		return -ENOENT;
	*usage = (struct rs_group_usage){
		.rfer = numbers[0],
		.excl = numbers[1],
		.data_rfer = numbers[2],
		.data_excl = numbers[3],
		.rfer_compressed = numbers[0],
		.excl_compressed = numbers[1],
	};
	return 0;
}
