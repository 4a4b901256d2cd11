/* SPDX-License-Identifier: MIT */
/*
 * Quotas, as they are the same on each back end. The kernel takes deleted subvolumes out of groups at a
 * time of its own, and marks the end of a rescan likewise: groups that had one are not removed, and
 * no rescan is begun before the last one was waited for.
 */
#include "workloads/script_random_quota.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static unsigned level_of(unsigned group)
{
	return 1 + group / SCRIPT_MODEL_WIDTH;
}

static uint32_t bit_of(unsigned group)
{
	return UINT32_C(1) << group;
}

/* A line on one group. */
static bool group_line(struct script_model_generator *generator, const char *words, unsigned group)
{
	return script_model_line(generator, "%s %u/%u", words, level_of(group),
				 group % SCRIPT_MODEL_WIDTH);
}

bool script_random_quota_on(struct script_model_generator *generator)
{
	generator->quota = true;
	generator->rescan = true;
	return script_model_line(generator, "quota on");
}

bool script_random_quota_group(struct script_model_generator *generator, unsigned number)
{
	generator->groups[2 * number].there = true;
	return group_line(generator, "group create", 2 * number);
}

bool script_random_quota_nest(struct script_model_generator *generator, unsigned number)
{
	/* The last one has two ways to its grandparent. */
	static const struct {
		uint8_t member;
		uint8_t parent;
	} nested[SCRIPT_RANDOM_QUOTA_NESTED] = {
		{ 0, 4 }, { 2, 6 }, { 4, 8 }, { 6, 10 }, { 0, 8 },
	};
	unsigned member = nested[number].member;
	unsigned parent = nested[number].parent;
	char words[32];

	generator->groups[member].parents |= bit_of(parent);
	snprintf(words, sizeof(words), "group assign %u/%u", level_of(member),
		 member % SCRIPT_MODEL_WIDTH);
	return group_line(generator, words, parent);
}

static bool turn_off(struct script_model_generator *generator)
{
	unsigned at;

	generator->quota = false;
	generator->rescan = false;
	generator->left = 0;
	memset(generator->groups, 0, sizeof(generator->groups));
	for (at = 0; at < generator->subvol_count; at++)
		generator->subvols[at].groups = 0;
	return script_model_line(generator, "quota off");
}

/* Any line on quotas while they are off. */
static bool roll_while_off(struct script_model_generator *generator)
{
	switch (script_model_below(generator, 6)) {
	case 0:
		return group_line(generator, "fails ENOTCONN group create",
				  (unsigned)script_model_below(generator, SCRIPT_MODEL_GROUPS));
	case 1:
		return script_model_line(generator, "fails ENOTCONN rescan start");
	default:
		/* And the groups come again, as at the beginning. */
		generator->begun = 1 + generator->profile->begin;
		return script_random_quota_on(generator);
	}
}

static bool roll_rescan(struct script_model_generator *generator)
{
	generator->rescan = !generator->rescan;
	return script_model_line(generator, generator->rescan ? "rescan start" : "rescan wait");
}

static bool has_members(const struct script_model_generator *generator, unsigned group)
{
	unsigned at;

	for (at = 0; at < generator->subvol_count; at++)
		if (generator->subvols[at].groups & bit_of(group))
			return true;
	for (at = 0; at < SCRIPT_MODEL_GROUPS; at++)
		if (generator->groups[at].parents & bit_of(group))
			return true;
	return false;
}

static bool roll_group(struct script_model_generator *generator)
{
	unsigned number = (unsigned)script_model_below(generator, SCRIPT_MODEL_GROUPS);
	struct script_model_group *group = &generator->groups[number];

	if (!group->there) {
		group->there = true;
		return group_line(generator, "group create", number);
	}
	if (script_model_percent(generator, 10))
		return group_line(generator, "fails EEXIST group create", number);
	/* Seldom, so that there are some. */
	if (!script_model_percent(generator, 40))
		return false;
	if (has_members(generator, number))
		return group_line(generator, "fails EBUSY group remove", number);
	if (generator->left & bit_of(number))
		return false;
	*group = (struct script_model_group){ 0 };
	return group_line(generator, "group remove", number);
}

/* Writes a line that makes a member, which `name` names, of a group, or takes it out. */
static bool change_member(struct script_model_generator *generator, const char *name,
			  uint32_t *parents, unsigned parent)
{
	const char *words = "group assign";

	if (*parents & bit_of(parent)) {
		if (script_model_percent(generator, 15)) {
			words = "fails EEXIST group assign";
		} else {
			words = "group unassign";
			*parents &= ~bit_of(parent);
		}
	} else if (script_model_percent(generator, 8)) {
		words = "fails ENOENT group unassign";
	} else {
		*parents |= bit_of(parent);
	}
	return script_model_line(generator, "%s %s %u/%u", words, name, level_of(parent),
				 parent % SCRIPT_MODEL_WIDTH);
}

static bool roll_subvol_member(struct script_model_generator *generator, unsigned parent)
{
	struct script_model_subvol *subvol = script_model_any_subvol(generator);
	char name[32];

	if (!subvol || !script_model_is_free(generator, subvol->relations))
		return false;
	script_model_use_subvol(generator, subvol);
	subvol->relations = generator->thread;
	snprintf(name, sizeof(name), "s%" PRIu64, subvol->number);
	return change_member(generator, name, &subvol->groups, parent);
}

/* While no thread runs: which groups there are, and what is above them, is nobody's. */
static bool roll_group_member(struct script_model_generator *generator, unsigned parent)
{
	unsigned member = (unsigned)script_model_below(generator, SCRIPT_MODEL_GROUPS);
	char name[32];

	if (generator->thread != SCRIPT_MODEL_NOBODY || !generator->groups[member].there)
		return false;
	snprintf(name, sizeof(name), "%u/%u", level_of(member), member % SCRIPT_MODEL_WIDTH);
	/* Few of all pairs are related: sometimes one that is. */
	if (generator->groups[member].parents && script_model_percent(generator, 50))
		parent = (unsigned)__builtin_ctz(generator->groups[member].parents);
	if (level_of(member) < level_of(parent))
		return change_member(generator, name, &generator->groups[member].parents, parent);
	if (!script_model_percent(generator, 5))
		return false;
	return script_model_line(generator, "fails EINVAL group assign %s %u/%u", name,
				 level_of(parent), parent % SCRIPT_MODEL_WIDTH);
}

static bool roll_member(struct script_model_generator *generator)
{
	unsigned parent = (unsigned)script_model_below(generator, SCRIPT_MODEL_GROUPS);

	if (!generator->groups[parent].there)
		return false;
	if (script_model_percent(generator, 60))
		return roll_subvol_member(generator, parent);
	return roll_group_member(generator, parent);
}

bool script_random_quota_line(struct script_model_generator *generator, unsigned roll)
{
	bool alone = generator->thread == SCRIPT_MODEL_NOBODY;

	if (!generator->quota)
		return alone && roll_while_off(generator);
	switch (roll) {
	case SCRIPT_MODEL_ROLL_QUOTA:
		return alone && turn_off(generator);
	case SCRIPT_MODEL_ROLL_RESCAN:
		return alone && roll_rescan(generator);
	case SCRIPT_MODEL_ROLL_GROUP:
		return alone && roll_group(generator);
	default:
		return roll_member(generator);
	}
}

uint32_t script_random_quota_inherit(struct script_model_generator *generator, char *text)
{
	uint32_t groups = 0;
	size_t length = 0;
	unsigned tries;

	text[0] = 0;
	if (!generator->quota || !script_model_percent(generator, 50))
		return 0;
	for (tries = 0; tries < 3; tries++) {
		unsigned at = (unsigned)script_model_below(generator, SCRIPT_MODEL_GROUPS);

		if (!generator->groups[at].there || groups & bit_of(at))
			continue;
		length += (size_t)snprintf(text + length, SCRIPT_RANDOM_QUOTA_BYTES - length,
					   "%s %u/%u", groups ? "" : " group", level_of(at),
					   at % SCRIPT_MODEL_WIDTH);
		groups |= bit_of(at);
	}
	return groups;
}
