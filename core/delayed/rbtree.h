/* SPDX-License-Identifier: MIT */
/*
 * A red-black tree whose nodes are two words: no parent, and the colour of a node stands in the
 * link to it. Whoever changes the tree has come down from the root, by a path that leads back up.
 *
 * Callers: one thread at a time. Nodes never move.
 */
#ifndef REFSTORM_DELAYED_RBTREE_H
#define REFSTORM_DELAYED_RBTREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A pointer to a node, or 0; its lowest bit is set for a red one. */
typedef uintptr_t rbtree_link;

#define RBTREE_RED ((rbtree_link)1)

struct rbtree_node {
	rbtree_link child[2]; /* lower, higher */
};

struct rbtree {
	rbtree_link root;
};

/*
 * The way down to a link: that of the root first. A tree of n nodes is at most 2 log2(n + 1)
 * high, and 2^48 bytes of memory hold fewer than 2^44 nodes; a removal goes two further.
 */
#define RBTREE_PATH_MAX 96U

struct rbtree_path {
	rbtree_link *links[RBTREE_PATH_MAX];
	unsigned depth; /* links[depth] is where it has come to */
};

static inline struct rbtree_node *rbtree_node_of(rbtree_link link)
{
	return (struct rbtree_node *)(link & ~RBTREE_RED);
}

static inline void rbtree_path_begin(struct rbtree_path *path, struct rbtree *tree)
{
	path->links[0] = &tree->root;
	path->depth = 0;
}

/* The node it has come to; NULL at an empty link. */
static inline struct rbtree_node *rbtree_path_node(const struct rbtree_path *path)
{
	return rbtree_node_of(*path->links[path->depth]);
}

/* From a node to its child's link: of the lower one (0) or the higher (1). */
static inline void rbtree_path_down(struct rbtree_path *path, struct rbtree_node *node,
				    unsigned side)
{
	path->links[++path->depth] = &node->child[side];
}

/* The node after the one that the path has come to; NULL for none. The path stays. */
struct rbtree_node *rbtree_path_peek(const struct rbtree_path *path);

/* Goes to the node after it: false, and the path is of no use any more, if there is none. */
bool rbtree_path_next(struct rbtree_path *path);

/* Puts a node to the empty link that the path has come to, and the path is of no use any more. */
void rbtree_insert(struct rbtree_path *path, struct rbtree_node *node);

/* Takes out the node that the path has come to, and the path is of no use any more. */
void rbtree_remove(struct rbtree_path *path);

#endif /* REFSTORM_DELAYED_RBTREE_H */
