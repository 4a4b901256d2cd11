/* SPDX-License-Identifier: MIT */
#include "stress/oracle/backref.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/random.h>
#include <time.h>

#include "core/base/alloc.h"
#include "core/base/error.h"
#include "core/base/plant.h"
#include "core/base/pool.h"
#include "core/disk/image.h"
#include "core/disk/reader.h"
#include "stress/oracle/backref_detail.h"
#include "stress/oracle/extent_items.h"
#include "stress/oracle/extent_map.h"
#include "stress/oracle/findings.h"
#include "stress/oracle/tree_refs.h"
#include "stress/oracle/walk.h"

#define PROGRESS_PERIOD_NS 100000000ULL

/* What one worker counts and finds. */
struct check_worker {
	struct findings findings;
	struct extent_list extents;
	struct detail_list details;
	uint64_t backrefs;
	uint64_t tree_blocks;
} __attribute__((aligned(ORDER_LINE)));

struct check {
	struct rs_image *image;
	const struct backref_options *options;
	struct pool *pool;
	struct reader *reader;
	struct pool_watch watch;
	struct tree_list trees;
	struct extent_map map;
	uint64_t seed;
	uint64_t blocks_known;
	struct check_worker *workers;
	unsigned worker_count;
	bool detailed; /* the second pass: references of extents that differ are kept */
};

const char *backref_kind_name(enum backref_kind kind)
{
	static const char *const names[] = {
		[BACKREF_MISSING] = "missing", [BACKREF_EXTRA] = "extra",
		[BACKREF_COUNT] = "count",     [BACKREF_LENGTH] = "length",
		[BACKREF_OVERLAP] = "overlap", [BACKREF_OWNER] = "owner",
	};

	return names[kind];
}

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void tick(void *argument)
{
	struct check *check = argument;
	uint64_t done = reader_progress_approx(check->reader);
	uint64_t known = check->blocks_known > done ? check->blocks_known : done;

	if (!check->options->progress(check->options->argument, done, known))
		reader_cancel(check->reader);
}

static const struct pool_watch *watch_of(const struct check *check)
{
	return check->options->progress ? &check->watch : NULL;
}

/* Whether the first pass has left a difference. */
static bool differs(const struct mapped_extent *extent)
{
	/* Relaxed: the pass that changed it has ended. */
	return order_load_relaxed(&extent->balance) != 0;
}

/* The extent tree has `count` of this reference. */
static int on_stored(void *argument, unsigned worker, const struct reference *reference,
		     uint64_t count)
{
	struct check *check = argument;
	struct check_worker *mine = &check->workers[worker];
	struct mapped_extent *extent = extent_map_find(&check->map, reference->bytenr);
	char text[REFERENCE_TEXT_BYTES];

	if (check->detailed)
		return extent && differs(extent) ?
			       backref_detail_add(&mine->details, reference, count, 0) :
			       0;
	mine->backrefs++;
	if (!extent)
		return findings_add(&mine->findings, BACKREF_MISSING, reference->bytenr,
				    "extent item, for the keyed reference of %s",
				    reference_text(reference, text));
	/* Relaxed: sums, read when the pass has ended. */
	order_fetch_add_relaxed(&extent->balance, count * reference_hash(reference, check->seed));
	order_fetch_add_relaxed(&extent->counted, count);
	return 0;
}

/* What differs besides references: said once an extent. */
static int check_length(struct check_worker *mine, const struct reference *reference,
			struct mapped_extent *extent, uint64_t bytes)
{
	char text[REFERENCE_TEXT_BYTES];

	if (extent->bytes == bytes || !extent_map_mark(extent, EXTENT_MAP_REPORTED))
		return 0;
	return findings_add(&mine->findings, BACKREF_LENGTH, extent->bytenr,
			    "extent item has %" PRIu64 " bytes, the %s %" PRIu64, extent->bytes,
			    reference_text(reference, text), bytes);
}

/* A tree implies this reference. */
static int on_implied(void *argument, unsigned worker, const struct reference *reference,
		      struct mapped_extent *extent, uint64_t bytes)
{
	struct check *check = argument;
	struct check_worker *mine = &check->workers[worker];
	char text[REFERENCE_TEXT_BYTES];

	if (check->detailed)
		return extent && differs(extent) ?
			       backref_detail_add(&mine->details, reference, 0, 1) :
			       0;
	if (!extent)
		return findings_add(&mine->findings, BACKREF_MISSING, reference->bytenr,
				    "extent item, for the %s", reference_text(reference, text));
	if (!plant_armed("backref.no-implied"))
		/* Relaxed: a sum, read when the pass has ended. */
		order_fetch_sub_relaxed(&extent->balance, reference_hash(reference, check->seed));
	return check_length(mine, reference, extent, bytes);
}

/* A leaf of the extent tree is where references are stored. */
static int read_stored(struct check *check, unsigned worker, const uint8_t *block)
{
	const struct extent_items_sink sink = {
		.argument = check,
		.worker = worker,
		.reference = on_stored,
	};
	const struct node_rules *rules = &check->image->rules;

	if (node_level(block) ||
	    format_le64(&node_header(block)->owner) != BTRFS_EXTENT_TREE_OBJECTID)
		return 0;
	return extent_items_read(block, rules->node_bytes, rules->sector_bytes, &sink);
}

static int on_block(void *argument, unsigned worker, const uint8_t *block,
		    struct mapped_extent *extent)
{
	struct check *check = argument;
	struct check_worker *mine = &check->workers[worker];
	int ret = read_stored(check, worker, block);

	if (ret || check->detailed)
		return ret;
	mine->tree_blocks++;
	if (!extent || extent->level == EXTENT_MAP_NO_LEVEL || extent->level == node_level(block))
		return 0;
	return findings_add(&mine->findings, BACKREF_OWNER, extent->bytenr,
			    "extent item gives level %u, the tree block has level %u",
			    extent->level, node_level(block));
}

static int on_extent(void *argument, unsigned worker, const struct mapped_extent *extent)
{
	struct check *check = argument;

	return extent_list_add(&check->workers[worker].extents, extent);
}

static int on_wrong(void *argument, unsigned worker, enum backref_kind kind, uint64_t bytenr,
		    const char *detail)
{
	struct check *check = argument;

	return findings_add(&check->workers[worker].findings, kind, bytenr, "%s", detail);
}

static int on_extent_block(void *argument, unsigned worker, const uint8_t *block,
			   struct rs_error *error)
{
	struct check *check = argument;
	const struct extent_items_sink sink = {
		.argument = check,
		.worker = worker,
		.extent = on_extent,
		.wrong = on_wrong,
	};
	const struct node_rules *rules = &check->image->rules;
	int ret = 0;

	if (!node_level(block))
		ret = extent_items_read(block, rules->node_bytes, rules->sector_bytes, &sink);
	return ret ? error_no_memory(error, "the table of extents") : 0;
}

/* Extents in the order of their addresses: two that share bytes are neighbours, or enclose one. */
static int find_overlaps(struct check *check)
{
	struct findings *findings = &check->workers[0].findings;
	uint64_t end = 0;
	uint64_t last = 0;
	size_t at;
	int ret = 0;

	for (at = 0; !ret && at < check->map.count; at++) {
		const struct mapped_extent *extent = &check->map.extents[at];

		if (extent->bytenr < end)
			ret = findings_add(findings, BACKREF_OVERLAP, extent->bytenr,
					   "shares bytes with the extent at %" PRIu64
					   ", which ends at %" PRIu64,
					   last, end);
		if (extent->bytenr + extent->bytes > end) {
			end = extent->bytenr + extent->bytes;
			last = extent->bytenr;
		}
	}
	return ret;
}

static int build_map(struct check *check)
{
	struct extent_list *lists = alloc_aligned(ORDER_LINE, check->worker_count, sizeof(*lists));
	unsigned at;
	int ret;

	if (!lists)
		return -ENOMEM;
	for (at = 0; at < check->worker_count; at++) {
		lists[at] = check->workers[at].extents;
		check->workers[at].extents = (struct extent_list){ 0 };
	}
	ret = extent_map_build(&check->map, lists, check->worker_count);
	for (at = 0; at < check->worker_count; at++)
		alloc_free(lists[at].extents);
	alloc_free(lists);
	for (at = 0; !ret && at < check->map.count; at++)
		/* Relaxed: no worker runs. */
		check->blocks_known +=
			!(order_load_relaxed(&check->map.extents[at].flags) & EXTENT_MAP_DATA);
	return ret ? ret : find_overlaps(check);
}

/* The table of extents, from the extent tree. */
static int read_extents(struct check *check, struct rs_error *error)
{
	const struct listed_tree *tree = tree_list_find(&check->trees, BTRFS_EXTENT_TREE_OBJECTID);
	struct walk walk = {
		.argument = check,
		.block = on_extent_block,
		.watch = watch_of(check),
	};
	struct node_expect expect;
	int ret;

	if (!tree)
		return error_set(error, -EUCLEAN, "there is no extent tree");
	expect = tree_list_expect(tree);
	if (walk_init(&walk, check->reader))
		return error_no_memory(error, "the tree blocks");
	ret = walk_add(&walk, &expect) ? error_no_memory(error, "the tree blocks") :
					 walk_run(&walk, error);
	walk_destroy(&walk);
	if (!ret && build_map(check))
		ret = error_no_memory(error, "the table of extents");
	return ret;
}

static int read_references(struct check *check, struct rs_error *error)
{
	static const struct tree_refs_sink functions = {
		.reference = on_implied,
		.block = on_block,
	};
	struct tree_refs_sink sink = functions;
	struct tree_refs refs = {
		.image = check->image,
		.reader = check->reader,
		.map = &check->map,
		.trees = &check->trees,
		.sink = &sink,
		.watch = watch_of(check),
	};

	sink.argument = check;
	return tree_refs_read(&refs, error);
}

static bool any_differs(const struct check *check)
{
	size_t at;

	for (at = 0; at < check->map.count; at++) {
		const struct mapped_extent *extent = &check->map.extents[at];

		/* Relaxed: no worker runs any more. */
		if (differs(extent) || !extent->refs ||
		    extent->refs != order_load_relaxed(&extent->counted))
			return true;
	}
	return false;
}

/* The second pass. */
static int read_details(struct check *check, struct rs_error *error)
{
	struct detail_list *lists;
	unsigned worker;
	size_t at;
	int ret;

	for (at = 0; at < check->map.count; at++)
		/* Relaxed: no worker runs. */
		order_fetch_and_relaxed(&check->map.extents[at].flags, ~EXTENT_MAP_VISITED);
	check->detailed = true;
	ret = read_references(check, error);
	if (ret)
		return ret;
	lists = alloc_aligned(ORDER_LINE, check->worker_count, sizeof(*lists));
	if (!lists)
		return error_no_memory(error, "the references");
	for (worker = 0; worker < check->worker_count; worker++) {
		lists[worker] = check->workers[worker].details;
		check->workers[worker].details = (struct detail_list){ 0 };
	}
	if (backref_detail_report(lists, check->worker_count, &check->map,
				  &check->workers[0].findings))
		ret = error_no_memory(error, "the references");
	alloc_free(lists);
	return ret;
}

static int fill_report(struct check *check, struct backref_report *report, struct rs_error *error)
{
	struct findings *lists = alloc_aligned(ORDER_LINE, check->worker_count, sizeof(*lists));
	unsigned at;
	int ret;

	if (!lists)
		return error_no_memory(error, "the report");
	report->extents = check->map.count;
	for (at = 0; at < check->worker_count; at++) {
		report->backrefs += check->workers[at].backrefs;
		report->tree_blocks += check->workers[at].tree_blocks;
		lists[at] = check->workers[at].findings;
	}
	ret = findings_report(lists, check->worker_count, report);
	alloc_free(lists);
	return ret ? error_no_memory(error, "the report") : 0;
}

static int run(struct check *check, struct backref_report *report, struct rs_error *error)
{
	int ret = tree_list_read(&check->trees, check->image, check->reader, error);

	if (!ret)
		ret = read_extents(check, error);
	if (!ret)
		ret = read_references(check, error);
	if (!ret && any_differs(check))
		ret = read_details(check, error);
	return ret ? ret : fill_report(check, report, error);
}

static void check_destroy(struct check *check)
{
	unsigned at;

	for (at = 0; at < check->worker_count; at++) {
		findings_destroy(&check->workers[at].findings, 1);
		alloc_free(check->workers[at].extents.extents);
		alloc_free(check->workers[at].details.references);
	}
	alloc_free(check->workers);
	extent_map_destroy(&check->map);
	tree_list_destroy(&check->trees);
}

static int set_up_and_run(struct check *check, struct backref_report *report,
			  struct rs_error *error)
{
	int ret = pool_create(check->options->threads, &check->pool, error);

	if (ret)
		return ret;
	ret = reader_create(check->image, check->pool, READER_IO_AUTO, &check->reader, error);
	if (ret)
		goto destroy_pool;
	check->workers =
		alloc_aligned(ORDER_LINE, pool_threads(check->pool), sizeof(*check->workers));
	if (!check->workers) {
		ret = error_no_memory(error, "the workers");
		goto destroy_reader;
	}
	check->worker_count = pool_threads(check->pool);
	ret = run(check, report, error);
	check_destroy(check);
destroy_reader:
	reader_destroy(check->reader);
destroy_pool:
	pool_destroy(check->pool);
	return ret;
}

int backref_check(struct rs_image *image, const struct backref_options *options,
		  struct backref_report *report, struct rs_error *error)
{
	static const struct backref_options defaults;
	struct check check = { .image = image, .options = options ? options : &defaults };
	double begin = seconds_now();
	int ret;

	*report = (struct backref_report){ 0 };
	check.watch = (struct pool_watch){ PROGRESS_PERIOD_NS, tick, &check };
	if (getrandom(&check.seed, sizeof(check.seed), 0) != sizeof(check.seed))
		return error_set(error, -EIO, "no random number is to be had");
	ret = set_up_and_run(&check, report, error);
	report->seconds = seconds_now() - begin;
	if (ret) {
		error_add_place(error, "back references");
		error_add_place(error, "%s", image->name);
		backref_report_destroy(report);
	}
	return ret;
}

void backref_report_destroy(struct backref_report *report)
{
	alloc_free(report->errors);
	report->errors = NULL;
	report->errors_kept = 0;
}
