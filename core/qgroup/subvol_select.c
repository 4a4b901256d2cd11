// SPDX-License-Identifier: MIT
#include "core/qgroup/subvol_select.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/error.h"

#define DIGITS "0123456789"

struct selection {
	const struct subvol_list *list;
	const struct group_table *groups;
	struct group_walk walk;
	bool *chosen;
	bool top_level; /* stands in the group that is walked through */
};

/* Too large a number becomes one that no subvolume and no group has. */
static uint64_t number_of(const char *digits)
{
	return strtoull(digits, NULL, 10);
}

static int choose(struct selection *selection, const struct subvol *subvol, const char *name,
		  struct rs_error *error)
{
	if (!subvol)
		return error_set(error, -ENOENT, "there is no subvolume '%s'", name);
	if (subvol->deleted)
		return error_set(error, -ENOENT, "subvolume '%s' is deleted already", name);
	if (subvol->root.id == BTRFS_FS_TREE_OBJECTID)
		return error_set(error, -EINVAL, "'%s' is the top level, which cannot be deleted",
				 name);
	selection->chosen[subvol - selection->list->subvols] = true;
	return 0;
}

static void choose_member(void *argument, const struct group *leaf)
{
	struct selection *selection = argument;
	const struct subvol *subvol = subvol_list_find(selection->list, leaf->id);

	if (!subvol || subvol->deleted)
		return;
	if (subvol->root.id == BTRFS_FS_TREE_OBJECTID)
		selection->top_level = true;
	else
		selection->chosen[subvol - selection->list->subvols] = true;
}

static int choose_group(struct selection *selection, uint64_t level, uint64_t number,
			const char *name, struct rs_error *error)
{
	const struct group *group = NULL;

	if (level < 1U << 16 && number >> GROUP_LEVEL_SHIFT == 0)
		group = group_table_find(selection->groups, level << GROUP_LEVEL_SHIFT | number);
	if (!group)
		return error_set(error, -ENOENT, "there is no group '%s'", name);
	selection->top_level = false;
	group_walk_leaves(&selection->walk, selection->groups, group, choose_member, selection);
	if (selection->top_level)
		return error_set(error, -EINVAL,
				 "group '%s' holds the top level, which cannot be deleted", name);
	return 0;
}

/* Whether `name` is `path`, but for slashes at its ends and more than one between two parts. */
static bool names_path(const char *name, const char *path)
{
	name += strspn(name, "/");
	while (*path && *name == *path) {
		if (*path == '/')
			name += strspn(name, "/");
		else
			name++;
		path++;
	}
	return !*path && !name[strspn(name, "/")];
}

static const struct subvol *find_path(const struct subvol_list *list, const char *name)
{
	size_t at;

	if (*name && !name[strspn(name, "/")])
		return subvol_list_find(list, BTRFS_FS_TREE_OBJECTID);
	for (at = 0; *name && at < list->count; at++) {
		const char *path = list->subvols[at].path;

		if (path && list->subvols[at].root.id != BTRFS_FS_TREE_OBJECTID &&
		    names_path(name, path))
			return &list->subvols[at];
	}
	return NULL;
}

static int choose_name(struct selection *selection, const char *name, struct rs_error *error)
{
	size_t first = strspn(name, DIGITS);
	const char *second = name[first] == '/' ? name + first + 1 : "";
	bool is_group = first && *second && !second[strspn(second, DIGITS)];
	const struct subvol *subvol;

	if (is_group && number_of(name))
		return choose_group(selection, number_of(name), number_of(second), name, error);
	if (is_group)
		subvol = subvol_list_find(selection->list, number_of(second));
	else if (first && !name[first])
		subvol = subvol_list_find(selection->list, number_of(name));
	else
		subvol = find_path(selection->list, name);
	return choose(selection, subvol, name, error);
}

int subvol_select(const struct subvol_list *list, const struct group_table *groups,
		  const char *const *names, size_t count, bool *chosen, struct rs_error *error)
{
	struct selection selection = { .list = list, .groups = groups, .chosen = chosen };
	size_t at;
	int ret = 0;

	if (group_walk_init(&selection.walk, groups))
		return error_no_memory(error, "the groups");
	for (at = 0; !ret && at < count; at++)
		ret = choose_name(&selection, names[at], error);
	group_walk_destroy(&selection.walk);
	return ret;
}
