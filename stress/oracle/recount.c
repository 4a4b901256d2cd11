/* SPDX-License-Identifier: MIT */
#include "stress/oracle/recount_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "core/base/alloc.h"
#include "core/base/array.h"
#include "core/forest/root.h"

const char *recount_kind_name(enum recount_kind kind)
{
	static const char *const names[RECOUNT_KINDS] = {
		[RECOUNT_NODE] = "node",     [RECOUNT_MISSING] = "missing",
		[RECOUNT_EXTRA] = "extra",   [RECOUNT_COUNT] = "count",
		[RECOUNT_LENGTH] = "length", [RECOUNT_OVERLAP] = "overlap",
		[RECOUNT_WORD] = "word",     [RECOUNT_LOST] = "lost",
		[RECOUNT_SPACE] = "space",   [RECOUNT_ACCOUNT] = "account",
		[RECOUNT_GROUP] = "group",
	};

	return (unsigned)kind < RECOUNT_KINDS ? names[kind] : "unknown";
}

void recount_find(struct recount *recount, enum recount_kind kind, uint64_t bytenr,
		  const char *format, ...)
{
	struct recount_report *report = &recount->report;
	struct recount_finding *finding;
	va_list arguments;

	report->counts[kind]++;
	if (report->finding_count++ >= RECOUNT_FINDINGS_MAX)
		return;
	finding = &report->findings[report->finding_count - 1];
	finding->kind = kind;
	finding->bytenr = bytenr;
	va_start(arguments, format);
	vsnprintf(finding->text, sizeof(finding->text), format, arguments);
	va_end(arguments);
}

int recount_begin(struct rs_forest *forest, const struct recount_options *options,
		  struct recount **out)
{
	struct recount *recount = alloc_zeroed(1, sizeof(*recount));

	*out = NULL;
	if (!recount)
		return -ENOMEM;
	/* What earlier commits freed leaves the buffers and the space behind a grace period. */
	if (options->references)
		rcu_defer_barrier();
	recount->forest = forest;
	recount->options = *options;
	*out = recount;
	return 0;
}

void recount_destroy(struct recount *recount)
{
	if (!recount)
		return;
	alloc_free(recount->blocks.slots);
	alloc_free(recount->refs.refs);
	alloc_free(recount->holdings);
	alloc_free(recount->roots);
	alloc_free(recount->sizes);
	alloc_free(recount);
}

const struct recount_report *recount_report(const struct recount *recount)
{
	return &recount->report;
}

const struct recount_root *recount_roots(const struct recount *recount, size_t *count)
{
	*count = recount->root_count;
	return recount->roots;
}

const struct recount_size *recount_sizes(const struct recount *recount, size_t *count)
{
	*count = recount->size_count;
	return recount->sizes;
}

static int list_root(struct recount *recount, uint64_t id)
{
	struct recount_root *roots = array_grow(recount->roots, recount->root_count, 1,
						&recount->root_capacity, sizeof(*roots));

	if (!roots)
		return -ENOMEM;
	recount->roots = roots;
	roots[recount->root_count++] = (struct recount_root){ .root = id };
	return 0;
}

int recount_root_add(struct recount *recount, struct rs_subvol *root)
{
	/* ROOT.commit: the tree as a commit left it, all its nodes. */
	const struct root_commit *commit = rcu_pointer_observe(&root->commit);
	const struct recount_block *top;
	int ret;

	if (!commit || !commit->node)
		return 0;
	recount->report.dropping += commit->dropping;
	recount->report.roots += !commit->dropping;
	ret = recount_walk_root(recount, root, commit);
	if (ret || commit->dropping || !recount->options.holdings)
		return ret;
	ret = list_root(recount, root->id);
	top = recount_blocks_find(&recount->blocks, commit->node->bytenr);
	if (ret || !top || !top->sound)
		return ret;
	return recount_holdings_read(recount, root->id, commit->node);
}

int recount_finish(struct recount *recount)
{
	int ret = 0;

	recount_refs_merge(&recount->refs);
	if (recount->options.references)
		ret = recount_compare_index(recount);
	if (!ret && recount->options.references)
		ret = recount_compare_buffers(recount);
	if (!ret && recount->options.holdings)
		ret = recount_holdings_finish(recount);
	return ret;
}

int recount_create(struct rs_forest *forest, const struct recount_options *options,
		   struct recount **out)
{
	struct rs_subvol *root = NULL;
	struct recount *recount;
	int ret = recount_begin(forest, options, &recount);

	*out = NULL;
	if (ret)
		return ret;
	while (!ret && (root = forest_root_next(forest, root)))
		ret = recount_root_add(recount, root);
	if (!ret)
		ret = recount_finish(recount);
	if (ret)
		recount_destroy(recount);
	else
		*out = recount;
	return ret;
}
