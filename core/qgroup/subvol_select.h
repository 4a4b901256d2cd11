/* SPDX-License-Identifier: MIT */
/* Which subvolumes are meant by what a user gave as their names. One thread. */
#ifndef REFSTORM_QGROUP_SUBVOL_SELECT_H
#define REFSTORM_QGROUP_SUBVOL_SELECT_H

#include "core/qgroup/group.h"
#include "core/qgroup/subvol.h"

/*
 * Sets `chosen` of each subvolume of the list, by its index, that one of the
 * names stands for: an id, a group, or a path. Members of a group that are
 * deleted already are left out. 0, -ENOENT, -EINVAL, as rs_reclaim; -ENOMEM.
 */
int subvol_select(const struct subvol_list *list, const struct group_table *groups,
		  const char *const *names, size_t count, bool *chosen, struct rs_error *error)
	__attribute__((warn_unused_result));

#endif /* REFSTORM_QGROUP_SUBVOL_SELECT_H */
