/* SPDX-License-Identifier: MIT */
#include "core/delayed/rbtree.h"

static inline bool rbtree_is_red(rbtree_link link)
{
	return link & RBTREE_RED;
}

static inline rbtree_link rbtree_red(const struct rbtree_node *node)
{
	return (rbtree_link)node | RBTREE_RED;
}

static inline rbtree_link rbtree_black(const struct rbtree_node *node)
{
	return (rbtree_link)node;
}

/* On which side of the node above it link `at` of the path stands. */
static inline unsigned rbtree_side(const struct rbtree_path *path, unsigned at)
{
	return path->links[at] == &rbtree_node_of(*path->links[at - 1])->child[1];
}

struct rbtree_node *rbtree_path_peek(const struct rbtree_path *path)
{
	struct rbtree_node *node = rbtree_node_of(rbtree_path_node(path)->child[1]);
	unsigned at = path->depth;

	if (node) {
		while (node->child[0])
			node = rbtree_node_of(node->child[0]);
		return node;
	}
	while (at && rbtree_side(path, at))
		at--;
	return at ? rbtree_node_of(*path->links[at - 1]) : NULL;
}

static void rbtree_path_lowest(struct rbtree_path *path)
{
	struct rbtree_node *node = rbtree_path_node(path);

	for (; node->child[0]; node = rbtree_node_of(node->child[0]))
		rbtree_path_down(path, node, 0);
}

bool rbtree_path_next(struct rbtree_path *path)
{
	struct rbtree_node *node = rbtree_path_node(path);

	if (node->child[1]) {
		rbtree_path_down(path, node, 1);
		rbtree_path_lowest(path);
		return true;
	}
	while (path->depth && rbtree_side(path, path->depth))
		path->depth--;
	if (!path->depth)
		return false;
	path->depth--;
	return true;
}

/* The red node at link `at` and the red one above it, with a black uncle: one or two turns. */
static void rbtree_insert_turn(struct rbtree_path *path, unsigned at)
{
	struct rbtree_node *grand = rbtree_node_of(*path->links[at - 2]);
	struct rbtree_node *top = rbtree_node_of(*path->links[at - 1]);
	unsigned side = rbtree_side(path, at - 1);

	if (rbtree_side(path, at) != side) {
		struct rbtree_node *inner = rbtree_node_of(*path->links[at]);

		top->child[!side] = inner->child[side];
		inner->child[side] = rbtree_red(top);
		top = inner;
	}
	grand->child[side] = top->child[!side];
	top->child[!side] = rbtree_red(grand);
	*path->links[at - 2] = rbtree_black(top);
}

void rbtree_insert(struct rbtree_path *path, struct rbtree_node *node)
{
	unsigned at = path->depth;

	node->child[0] = 0;
	node->child[1] = 0;
	*path->links[at] = rbtree_red(node);
	/* A red node has one above it, since the root is black. */
	while (at >= 2 && rbtree_is_red(*path->links[at - 1])) {
		struct rbtree_node *grand = rbtree_node_of(*path->links[at - 2]);

		if (!rbtree_is_red(grand->child[0]) || !rbtree_is_red(grand->child[1])) {
			rbtree_insert_turn(path, at);
			break;
		}
		grand->child[0] &= ~RBTREE_RED;
		grand->child[1] &= ~RBTREE_RED;
		at -= 2;
		*path->links[at] |= RBTREE_RED;
	}
	*path->links[0] &= ~RBTREE_RED;
}

/* The sibling of link `at` is red: it goes up, so that a black one stands there. */
static void rbtree_sibling_up(struct rbtree_path *path, unsigned at)
{
	struct rbtree_node *parent = rbtree_node_of(*path->links[at - 1]);
	unsigned side = rbtree_side(path, at);
	struct rbtree_node *sibling = rbtree_node_of(parent->child[!side]);

	parent->child[!side] = sibling->child[side];
	sibling->child[side] = rbtree_red(parent);
	*path->links[at - 1] = rbtree_black(sibling);
	path->links[at] = &sibling->child[side];
	path->links[at + 1] = &parent->child[side];
}

/* The sibling of link `at` is black and has a red child: one or two turns make up for the black that is missing. */
static void rbtree_remove_turn(struct rbtree_path *path, unsigned at)
{
	struct rbtree_node *parent = rbtree_node_of(*path->links[at - 1]);
	unsigned side = rbtree_side(path, at);
	struct rbtree_node *sibling = rbtree_node_of(parent->child[!side]);
	rbtree_link colour = *path->links[at - 1] & RBTREE_RED;

	if (!rbtree_is_red(sibling->child[!side])) {
		struct rbtree_node *near = rbtree_node_of(sibling->child[side]);

		sibling->child[side] = near->child[!side];
		near->child[!side] = rbtree_red(sibling);
		sibling = near;
	}
	parent->child[!side] = sibling->child[side];
	sibling->child[side] = rbtree_black(parent);
	sibling->child[!side] &= ~RBTREE_RED;
	*path->links[at - 1] = rbtree_black(sibling) | colour;
}

/* The ways through link `at` are short of one black node. Ends: it goes up, or down once to a red parent. */
static void rbtree_remove_fix(struct rbtree_path *path, unsigned at)
{
	while (at) {
		struct rbtree_node *parent = rbtree_node_of(*path->links[at - 1]);
		rbtree_link *beside = &parent->child[!rbtree_side(path, at)];
		struct rbtree_node *sibling = rbtree_node_of(*beside);

		if (rbtree_is_red(*beside)) {
			rbtree_sibling_up(path, at);
			at++;
			continue;
		}
		if (rbtree_is_red(sibling->child[0]) || rbtree_is_red(sibling->child[1])) {
			rbtree_remove_turn(path, at);
			return;
		}
		*beside |= RBTREE_RED;
		at--;
		if (rbtree_is_red(*path->links[at])) {
			*path->links[at] &= ~RBTREE_RED;
			return;
		}
	}
}

void rbtree_remove(struct rbtree_path *path)
{
	unsigned at = path->depth;
	struct rbtree_node *node = rbtree_path_node(path);
	struct rbtree_node *out =
		node; /* what leaves its place: the node, or the next one, which takes the node's */
	rbtree_link left;
	rbtree_link gone;

	if (node->child[0] && node->child[1]) {
		rbtree_path_down(path, node, 1);
		rbtree_path_lowest(path);
		out = rbtree_path_node(path);
	}
	left = out->child[0] ? out->child[0] : out->child[1];
	gone = *path->links[path->depth];
	*path->links[path->depth] = left & ~RBTREE_RED;
	if (out != node) {
		*out = *node;
		*path->links[at] = rbtree_black(out) | (*path->links[at] & RBTREE_RED);
		path->links[at + 1] = &out->child[1];
	}
	/* A child that is alone is red, and black now in the place of what was above it. */
	if (!rbtree_is_red(gone) && !left)
		rbtree_remove_fix(path, path->depth);
}
