// SPDX-License-Identifier: MIT
#include "bench/profile/flame.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/alloc.h"

#define MARGIN 10.0
#define INSIDE (FLAME_WIDTH - 2 * MARGIN)
#define ROW 18
#define HEAD 58 /* the title above the frames */
#define FOOT 12
#define NARROW 0.5
#define LETTER 7.3 /* one of the text's, as wide as the widest of the usual fonts has it */
#define COLOURS 16U

/* A frame, or several that are too narrow. */
struct flame_box {
	double x;
	double width;
	uint32_t depth;
	uint64_t weight;
	const char *name;
	size_t functions; /* in one box */
};

struct flame {
	FILE *to;
	const struct fold *fold;
	const struct flame_options *options;
	uint64_t all;
	uint32_t depth;  /* of the deepest that is drawn */
	uint32_t *order; /* room for all children of one frame after the other */
};

/* Frames that wait to be drawn: each with where it begins. */
struct flame_place {
	uint32_t frame;
	double x;
};

/* What cannot stand in XML as it is; names come from symbol tables, which may have any byte. */
static void write_text(FILE *to, const char *text, size_t letters)
{
	for (; *text && letters; text++, letters--) {
		unsigned char letter = (unsigned char)*text;

		if (letter == '<')
			fputs("&lt;", to);
		else if (letter == '>')
			fputs("&gt;", to);
		else if (letter == '&')
			fputs("&amp;", to);
		else if (letter == '"')
			fputs("&quot;", to);
		else
			fputc(letter < 0x20 || letter > 0x7e ? '?' : letter, to);
	}
}

/* The same for a name wherever it stands: FNV-1a. */
static unsigned colour_of(const char *name)
{
	uint32_t hash = UINT32_C(2166136261);

	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * UINT32_C(16777619);
	return (hash ^ hash >> 16) % COLOURS;
}

static void write_weight(const struct flame *flame, uint64_t weight)
{
	double share = flame->all ? 100.0 * (double)weight / (double)flame->all : 0;

	if (flame->options->unit == FLAME_NS)
		fprintf(flame->to, "%.3f ms, %.2f %%", (double)weight / 1e6, share);
	else
		fprintf(flame->to, "%" PRIu64 " samples, %.2f %%", weight, share);
}

static void write_box(const struct flame *flame, const struct flame_box *box)
{
	double y = HEAD + (double)(flame->depth - box->depth) * ROW;
	size_t room = box->width > 3 * LETTER ? (size_t)((box->width - 6) / LETTER) : 0;
	size_t letters = strlen(box->name);

	fputs("<g><title>", flame->to);
	if (box->functions > 1)
		fprintf(flame->to, "%zu functions, each too narrow to be drawn", box->functions);
	else
		write_text(flame->to, box->name, letters);
	fputs(" (", flame->to);
	write_weight(flame, box->weight);
	fputs(")</title>", flame->to);
	fprintf(flame->to,
		"<rect class=\"%s%u\" x=\"%.2f\" y=\"%.0f\" width=\"%.2f\" height=\"%d\"/>",
		box->functions > 1 ? "o" : "c", box->functions > 1 ? 0 : colour_of(box->name),
		box->x, y, box->width > 0.3 ? box->width - 0.2 : box->width, ROW - 1);
	if (room >= 3 && box->functions == 1) {
		fprintf(flame->to, "<text x=\"%.2f\" y=\"%.0f\">", box->x + 3, y + 13);
		write_text(flame->to, box->name, letters <= room ? letters : room - 2);
		fputs(letters <= room ? "</text>" : "..</text>", flame->to);
	}
	fputs("</g>\n", flame->to);
}

static double width_of(const struct flame *flame, uint64_t weight)
{
	return INSIDE * (double)weight / (double)flame->all;
}

static int order_by_weight(const void *a, const void *b, void *argument)
{
	const struct fold *fold = argument;
	const struct fold_frame *one = fold_frame(fold, *(const uint32_t *)a);
	const struct fold_frame *other = fold_frame(fold, *(const uint32_t *)b);

	if (one->weight != other->weight)
		return one->weight < other->weight ? 1 : -1;
	return strcmp(fold_name(fold, one->name), fold_name(fold, other->name));
}

/* The callees of a frame, the widest first. */
static size_t children_of(const struct flame *flame, uint32_t frame)
{
	uint32_t child = fold_frame(flame->fold, frame)->child;
	size_t count = 0;

	for (; child != FOLD_NONE; child = fold_frame(flame->fold, child)->next)
		if (fold_frame(flame->fold, child)->weight)
			flame->order[count++] = child;
	qsort_r(flame->order, count, sizeof(flame->order[0]), order_by_weight,
		(void *)(uintptr_t)flame->fold);
	return count;
}

/* Draws the callees of a frame; those that are wide enough to have callees drawn go to `places`. */
static size_t draw_children(const struct flame *flame, const struct flame_place *place,
			    struct flame_place *places)
{
	struct flame_box rest = { .name = "" };
	size_t count = children_of(flame, place->frame);
	double x = place->x;
	size_t kept = 0;
	size_t at;

	for (at = 0; at < count; at++) {
		const struct fold_frame *frame = fold_frame(flame->fold, flame->order[at]);
		struct flame_box box = { x,
					 width_of(flame, frame->weight),
					 frame->depth,
					 frame->weight,
					 fold_name(flame->fold, frame->name),
					 1 };

		/* By weight: all that follow are as narrow. */
		if (box.width < NARROW) {
			rest.x = rest.functions ? rest.x : x;
			rest.depth = box.depth;
			rest.weight += box.weight;
			rest.functions++;
			rest.name = box.name;
		} else {
			write_box(flame, &box);
			places[kept++] = (struct flame_place){ flame->order[at], x };
		}
		x += box.width;
	}
	rest.width = width_of(flame, rest.weight);
	if (rest.width >= NARROW)
		write_box(flame, &rest);
	return kept;
}

/* Each place is drawn once, and leads to those above it: never more of them wait than there are frames. */
static bool draw(struct flame *flame)
{
	struct flame_place *places = alloc_array(fold_frames(flame->fold) + 1, sizeof(*places));
	size_t count = 1;

	if (!places)
		return false;
	places[0] = (struct flame_place){ 0, MARGIN };
	write_box(flame, &(struct flame_box){ MARGIN, INSIDE, 0, flame->all,
					      fold_name(flame->fold, 0), 1 });
	while (count) {
		struct flame_place place = places[--count];

		count += draw_children(flame, &place, places + count);
	}
	alloc_free(places);
	return true;
}

/* How deep the frames go that are not too narrow. */
static uint32_t depth_of(const struct flame *flame)
{
	uint32_t depth = 0;
	size_t at;

	for (at = 0; at < fold_frames(flame->fold); at++) {
		const struct fold_frame *frame = fold_frame(flame->fold, (uint32_t)at);
		const struct fold_frame *caller =
			frame->parent == FOLD_NONE ? frame : fold_frame(flame->fold, frame->parent);

		/* Several narrow ones may make one that is drawn, above a caller that is wide enough. */
		if (frame->weight && width_of(flame, caller->weight) >= NARROW &&
		    frame->depth > depth)
			depth = frame->depth;
	}
	return depth;
}

/* Colours: warm, and dark enough beneath white text, or light enough beneath black. */
static void write_style(FILE *to)
{
	unsigned at;

	fputs("<style>\n"
	      ".flame{background:#ffffff}\n"
	      ".flame .ground{fill:#ffffff}\n"
	      ".flame text{font:12px ui-monospace,Menlo,Consolas,\"DejaVu Sans Mono\",monospace;"
	      "fill:#1a1a1a}\n"
	      ".flame .title{font:600 17px system-ui,sans-serif}\n"
	      ".flame .about{font:13px system-ui,sans-serif}\n"
	      ".flame g:hover rect{stroke:#000000}\n"
	      ".flame .o0{fill:#c8c8c8}\n",
	      to);
	for (at = 0; at < COLOURS; at++)
		fprintf(to, ".flame .c%u{fill:hsl(%u,%u%%,%u%%)}\n", at, at * 61 % 76,
			70 + at % 3 * 8, 68 + at % 4 * 3);
	fputs("@media (prefers-color-scheme:dark){\n"
	      ".flame{background:#16181c}\n"
	      ".flame .ground{fill:#16181c}\n"
	      ".flame text{fill:#f2f2f2}\n"
	      ".flame g:hover rect{stroke:#ffffff}\n"
	      ".flame .o0{fill:#4a4d52}\n",
	      to);
	for (at = 0; at < COLOURS; at++)
		fprintf(to, ".flame .c%u{fill:hsl(%u,%u%%,%u%%)}\n", at, at * 61 % 76,
			45 + at % 3 * 8, 21 + at % 4 * 3);
	fputs("}\n</style>\n", to);
}

static void write_head(const struct flame *flame, unsigned height)
{
	FILE *to = flame->to;

	fprintf(to,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"flame\" width=\"%d\" height=\"%u\" "
		"viewBox=\"0 0 %d %u\" role=\"img\">\n<title>",
		FLAME_WIDTH, height, FLAME_WIDTH, height);
	write_text(to, flame->options->title, SIZE_MAX);
	fputs("</title>\n", to);
	write_style(to);
	fprintf(to, "<rect class=\"ground\" x=\"0\" y=\"0\" width=\"%d\" height=\"%u\"/>\n",
		FLAME_WIDTH, height);
	fprintf(to, "<text class=\"title\" x=\"%.0f\" y=\"24\">", MARGIN);
	write_text(to, flame->options->title, SIZE_MAX);
	fprintf(to, "</text>\n<text class=\"about\" x=\"%.0f\" y=\"44\">", MARGIN);
	if (flame->options->subtitle)
		write_text(to, flame->options->subtitle, SIZE_MAX);
	fputs("</text>\n", to);
}

bool flame_write(FILE *to, const struct fold *fold, const struct flame_options *options)
{
	struct flame flame = {
		.to = to,
		.fold = fold,
		.options = options,
		.all = fold_frame(fold, 0)->weight,
		.order = alloc_array(fold_frames(fold), sizeof(uint32_t)),
	};
	bool drawn = flame.order != NULL;

	if (drawn && flame.all)
		flame.depth = depth_of(&flame);
	if (drawn)
		write_head(&flame, HEAD + (flame.depth + 1) * ROW + FOOT);
	if (drawn && flame.all)
		drawn = draw(&flame);
	else if (drawn)
		fprintf(to,
			"<text class=\"about\" x=\"%.0f\" y=\"%d\">Nothing was sampled.</text>\n",
			MARGIN, HEAD + 13);
	fputs("</svg>\n", to);
	alloc_free(flame.order);
	return drawn && !ferror(to);
}
