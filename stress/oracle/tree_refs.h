/* SPDX-License-Identifier: MIT */
/*
 * The references that trees imply: every tree of the list is walked, each block
 * once, and each pointer and file extent handed to the sink.
 *
 * Who may call: one thread; the functions of the sink are called on the workers,
 * together.
 */
#ifndef REFSTORM_ORACLE_TREE_REFS_H
#define REFSTORM_ORACLE_TREE_REFS_H

#include "core/disk/reader.h"
#include "stress/oracle/extent_map.h"
#include "stress/oracle/reference.h"
#include "stress/oracle/tree_list.h"

struct rs_image;

/* `extent` is what the map has at the reference's address; NULL if nothing. 0 or a negative errno. */
struct tree_refs_sink {
	void *argument;
	/* A reference to an extent that is `bytes` long, as whoever references it has it. */
	int (*reference)(void *argument, unsigned worker, const struct reference *reference,
			 struct mapped_extent *extent, uint64_t bytes);
	/* Each block of any tree, and what the map has of it. */
	int (*block)(void *argument, unsigned worker, const uint8_t *block,
		     struct mapped_extent *extent);
};

struct tree_refs {
	struct rs_image *image;
	struct reader *reader;
	const struct extent_map *map;
	const struct tree_list *trees;
	const struct tree_refs_sink *sink;
	const struct pool_watch *watch; /* may be NULL */
};

/* 0, an error of reading or of the sink, -ENOMEM, -ECANCELED. Blocks get EXTENT_MAP_VISITED. */
int tree_refs_read(struct tree_refs *refs, struct rs_error *error)
	__attribute__((warn_unused_result));

#endif /* REFSTORM_ORACLE_TREE_REFS_H */
