/* SPDX-License-Identifier: MIT */
/*
 * The subvolumes and snapshots of an image, read from its root tree, and the
 * lineage that their uuids and creation generations give.
 *
 * Who may call: subvol_list_read from one thread; the list does not change after.
 */
#ifndef REFSTORM_QGROUP_SUBVOL_H
#define REFSTORM_QGROUP_SUBVOL_H

#include "core/disk/tree.h"
#include "core/qgroup/lineage.h"

struct rs_image;

struct subvol {
	struct tree_root root;
	uint8_t uuid[BTRFS_UUID_SIZE];        /* zero if the root item is of the old kind */
	uint8_t parent_uuid[BTRFS_UUID_SIZE]; /* of the source of a snapshot, else zero */
	uint64_t created;                     /* generation */
	uint64_t parent;                      /* subvolume that it stands in; 0 if in none */
	uint64_t directory;                   /* inode of the directory there */
	char *name;                           /* in that directory; NULL for 5 and deleted ones */
	char *path;                           /* from the top level; NULL if it has none */
	bool deleted;                         /* no name is left; its tree may still be there */
	bool dropping;                        /* deleted, and its tree is being taken apart */
	uint8_t drop_level;                   /* of the node where that has got to */
	struct format_key drop_progress;      /* the first key there that still counts */
	uint32_t position;                    /* in the lineage, counting from 0 */
};

struct subvol_list {
	struct subvol *subvols; /* ascending by id */
	size_t count;
	size_t capacity;
	struct tree_root quota; /* bytenr 0 if there is no such tree */
	struct tree_root extents;
	struct lineage lineage;
	uint32_t *elements; /* lineage element at each position, end elements too */
	uint32_t positions; /* how many */
};

/* 0, -ENOMEM, -EUCLEAN for a root item that makes no sense, or an error of reading. */
int subvol_list_read(struct rs_image *image, struct subvol_list *list, struct rs_error *error)
	__attribute__((warn_unused_result));
void subvol_list_destroy(struct subvol_list *list);

/* NULL if there is none with that id. */
struct subvol *subvol_list_find(const struct subvol_list *list, uint64_t id);

/* Whether these bytes can be a name in a directory. */
bool subvol_name_valid(const void *name, size_t bytes);

/* Fills in each path, reading the directories that subvolumes stand in. 0 or as subvol_list_read. */
int subvol_list_read_paths(struct rs_image *image, struct subvol_list *list, struct rs_error *error)
	__attribute__((warn_unused_result));

#endif /* REFSTORM_QGROUP_SUBVOL_H */
