/* SPDX-License-Identifier: MIT */
/*
 * The subvolumes of a forest, by id and by name. None goes away before the forest does.
 *
 * Who may call: any thread; root_add_locked with the table's lock. Progress: blocking, on a lock of
 * rank LOCK_RANK_FOREST_TABLE.
 */
#ifndef REFSTORM_FOREST_ROOT_H
#define REFSTORM_FOREST_ROOT_H

#include "core/forest/forest_impl.h"

#define ROOT_COUNT_MAX (1U << 20)
#define ROOT_NAME_MAX 4095U

/* 0 or -ENOMEM. */
int root_table_init(struct rs_forest *forest) __attribute__((warn_unused_result));
/* And all roots. Nobody uses them. */
void root_table_destroy(struct rs_forest *forest);

/*
 * A root without a tree, in the tables; `id` 0: the next one. `name` NULL: found by its id only. 0, -ENOMEM,
 * -EEXIST, -ENFILE.
 */
int root_add(struct rs_forest *forest, uint64_t id, const char *name, struct rs_subvol **out)
	__attribute__((warn_unused_result));

/* The same, with the next id, for a tree that its first commit shows. */
int root_add_new(struct rs_forest *forest, const char *name, struct rs_subvol **out)
	__attribute__((warn_unused_result));

/* The name is free again. */
void root_forget_name(struct rs_subvol *root);

/* One that came to nothing: its name is free, and it counts as taken apart. */
void root_give_up(struct rs_subvol *root);

/* The accounts know what it inherits, or there are none. By the holder of the commit lock, or nobody else knows the root. */
void root_inherit_forget(struct rs_subvol *root);

/* Also one that is deleted, or new. NULL if there is none. */
struct rs_subvol *root_find_id(struct rs_forest *forest, uint64_t id);

/* Ascending by id; NULL: the first. NULL at the end. */
struct rs_subvol *forest_root_next(struct rs_forest *forest, struct rs_subvol *previous);

#endif /* REFSTORM_FOREST_ROOT_H */
