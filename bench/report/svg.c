// SPDX-License-Identifier: MIT
#include "bench/report/svg.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/report/html.h"
#include "bench/report/svg_style.h"
#include "core/base/error.h"

#define DEPTH_MOST 64
#define STYLE_MOST 256

struct slice {
	const char *at;
	size_t length;
};

struct element {
	struct slice name;
	bool kept; /* its tags are written */
};

struct cleaner {
	FILE *to;
	const char *at;
	const struct svg_options *options;
	struct element open[DEPTH_MOST];
	size_t depth;
	size_t dropped; /* 1 + the depth from which on nothing is written, or 0 */
	const char *fault;
};

static const char *const elements[] = {
	"svg",     "g",    "path",  "rect", "circle", "ellipse", "line", "polyline",
	"polygon", "text", "tspan", "use",  "defs",   "title",   "desc",
};
static const char *const attributes[] = {
	"x",
	"y",
	"x1",
	"y1",
	"x2",
	"y2",
	"cx",
	"cy",
	"r",
	"rx",
	"ry",
	"dx",
	"dy",
	"d",
	"points",
	"width",
	"height",
	"viewBox",
	"transform",
	"opacity",
	"fill-opacity",
	"stroke-width",
	"stroke-opacity",
	"stroke-dasharray",
	"stroke-linecap",
	"stroke-linejoin",
	"font-size",
	"font-weight",
	"text-anchor",
	"textLength",
	"dominant-baseline",
};

static bool is_name(struct slice slice, const char *name)
{
	return strlen(name) == slice.length && !memcmp(slice.at, name, slice.length);
}

static bool is_one_of(struct slice slice, const char *const *names, size_t count)
{
	size_t at;

	for (at = 0; at < count; at++)
		if (is_name(slice, names[at]))
			return true;
	return false;
}

#define IS_ONE_OF(slice, names) is_one_of(slice, names, sizeof(names) / sizeof((names)[0]))

static bool is_blank(char letter)
{
	return letter && strchr(" \t\r\n", letter);
}

static void skip_blanks(struct cleaner *cleaner)
{
	while (is_blank(*cleaner->at))
		cleaner->at++;
}

static struct slice take_name(struct cleaner *cleaner)
{
	struct slice name = { cleaner->at, strcspn(cleaner->at, " \t\r\n=/><\"'") };

	cleaner->at += name.length;
	return name;
}

/* "&amp;" and the like, or a character by number: its length; 0 if the & stands for nothing. */
static size_t entity_length(const char *text)
{
	static const char *const known[] = { "&amp;", "&lt;", "&gt;", "&quot;", "&apos;" };
	size_t at, digits;
	bool hex;

	for (at = 0; at < sizeof(known) / sizeof(known[0]); at++)
		if (!strncmp(text, known[at], strlen(known[at])))
			return strlen(known[at]);
	if (text[1] != '#')
		return 0;
	hex = text[2] == 'x';
	digits = strspn(text + 2 + hex, hex ? "0123456789abcdefABCDEF" : "0123456789");
	return digits && digits < 8 && text[2 + (size_t)hex + digits] == ';' ?
		       3 + (size_t)hex + digits :
		       0;
}

static void write_text(FILE *to, const char *from, size_t length)
{
	const char *end = from + length;

	while (from < end) {
		char letter[2] = { *from, 0 };
		size_t entity = *from == '&' ? entity_length(from) : 0;

		if (entity && entity <= (size_t)(end - from)) {
			fwrite(from, 1, entity, to);
			from += entity;
		} else {
			html_text(to, letter);
			from++;
		}
	}
}

/* The page's colour that stands for `value`, or NULL: it stands for itself. */
static const char *page_colour(const char *value, char *room, size_t size)
{
	int red, green, blue;

	if (!strcmp(value, "black"))
		return "currentColor";
	if (!strcmp(value, "white"))
		return "var(--ground)";
	if (sscanf(value, "rgb( %d , %d , %d", &red, &green, &blue) != 3)
		return NULL;
	if (!red && !green && !blue)
		return "currentColor";
	if (red != 1 || green != 2)
		return NULL;
	if (blue >= SVG_SERIES && blue < SVG_SERIES + SVG_SERIES_COUNT)
		snprintf(room, size, "var(--s%d)", blue - SVG_SERIES);
	else
		snprintf(room, size, "var(--%s)",
			 blue == SVG_GRID ? "grid" :
			 blue == SVG_AXIS ? "axis" :
					    "muted");
	return room;
}

/* Colours go into `style`, where variables may stand; what points to another place paints nothing. */
static void write_colour(struct cleaner *cleaner, struct slice name, const char *value,
			 char style[STYLE_MOST])
{
	char room[32];
	const char *colour =
		cleaner->options->follow_page ? page_colour(value, room, sizeof(room)) : NULL;
	size_t used = strlen(style);

	if (strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789#(), .%") <
		    strlen(value) ||
	    strstr(value, "url"))
		value = "none";
	if (colour)
		snprintf(style + used, STYLE_MOST - used, "%.*s:%s;", (int)name.length, name.at,
			 colour);
	else
		fprintf(cleaner->to, " %.*s=\"%s\"", (int)name.length, name.at, value);
}

/* Names of classes and nothing else. */
static bool is_plain(const char *value)
{
	return strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-") ==
	       strlen(value);
}

static void write_attribute(struct cleaner *cleaner, struct slice name, const char *value,
			    char style[STYLE_MOST])
{
	static const char *const colours[] = { "fill", "stroke", "color" };
	static const char *const links[] = { "href", "xlink:href" };
	bool outermost = cleaner->depth == 1;

	if (outermost && (is_name(name, "width") || is_name(name, "height")))
		return;
	if (IS_ONE_OF(name, colours)) {
		write_colour(cleaner, name, value, style);
		return;
	}
	if (is_name(name, "id") || (IS_ONE_OF(name, links) && *value == '#')) {
		bool link = *name.at != 'i';

		fprintf(cleaner->to, " %s=\"%s%s-", link ? "href" : "id", link ? "#" : "",
			cleaner->options->prefix);
		write_text(cleaner->to, value + link, strlen(value + link));
		fputc('"', cleaner->to);
		return;
	}
	if (is_name(name, "class") && !cleaner->options->follow_page && is_plain(value)) {
		fprintf(cleaner->to, " class=\"%s\"", value);
		return;
	}
	/* A value with a colon or a call of url in it is a reference, which none of these has. */
	if (!IS_ONE_OF(name, attributes) || strstr(value, "url") || strchr(value, ':'))
		return;
	fprintf(cleaner->to, " %.*s=\"", (int)name.length, name.at);
	write_text(cleaner->to, value, strlen(value));
	fputc('"', cleaner->to);
}

/* The value behind `=`, as long as it likes: a drawn line has thousands of points. */
static char *take_value(struct cleaner *cleaner)
{
	const char *end;
	char *value;
	char quote;

	skip_blanks(cleaner);
	if (*cleaner->at != '=') {
		cleaner->fault = "an attribute has no value";
		return NULL;
	}
	cleaner->at++;
	skip_blanks(cleaner);
	quote = *cleaner->at;
	end = quote == '"' || quote == '\'' ? strchr(cleaner->at + 1, quote) : NULL;
	if (!end) {
		cleaner->fault = "a value has no quotes";
		return NULL;
	}
	value = strndup(cleaner->at + 1, (size_t)(end - cleaner->at - 1));
	if (!value)
		cleaner->fault = "no memory";
	cleaner->at = end + 1;
	return value;
}

/* The outermost element says what it is; one that gave only its size is made to scale. */
static void write_root(struct cleaner *cleaner, double width, double height, bool has_box)
{
	if (!has_box && width > 0 && height > 0)
		fprintf(cleaner->to, " viewBox=\"0 0 %g %g\"", width, height);
	else if (!has_box)
		cleaner->fault = "it has no size";
	fputs(" role=\"img\" aria-label=\"", cleaner->to);
	html_text(cleaner->to, cleaner->options->label);
	fputc('"', cleaner->to);
}

static void take_attributes(struct cleaner *cleaner, bool write)
{
	char style[STYLE_MOST] = "";
	double width = 0, height = 0;
	bool has_box = false;

	for (;;) {
		struct slice name;
		char *value;

		skip_blanks(cleaner);
		if (!*cleaner->at || strchr("/>", *cleaner->at))
			break;
		name = take_name(cleaner);
		if (!name.length) {
			cleaner->fault = "a tag is damaged";
			return;
		}
		value = take_value(cleaner);
		if (!value)
			return;
		if (is_name(name, "width"))
			width = atof(value);
		if (is_name(name, "height"))
			height = atof(value);
		has_box = has_box || is_name(name, "viewBox");
		if (write)
			write_attribute(cleaner, name, value, style);
		free(value);
	}
	if (write && style[0])
		fprintf(cleaner->to, " style=\"%s\"", style);
	if (write && cleaner->depth == 1)
		write_root(cleaner, width, height, has_box);
}

/* Which elements are written: with `follow_page` their titles are not, which name the parts of a plot. */
static bool is_kept(const struct cleaner *cleaner, struct slice name)
{
	static const char *const titles[] = { "title", "desc" };

	return IS_ONE_OF(name, elements) &&
	       !(cleaner->options->follow_page && IS_ONE_OF(name, titles));
}

static void close_element(struct cleaner *cleaner)
{
	const struct element *element = &cleaner->open[--cleaner->depth];

	if (element->kept && !cleaner->dropped)
		fprintf(cleaner->to, "</%.*s>", (int)element->name.length, element->name.at);
	if (cleaner->dropped == cleaner->depth + 1)
		cleaner->dropped = 0;
}

static void open_tag(struct cleaner *cleaner)
{
	struct element *element = &cleaner->open[cleaner->depth];
	bool write;

	if (cleaner->depth == DEPTH_MOST) {
		cleaner->fault = "it is nested too deeply";
		return;
	}
	cleaner->at++;
	element->name = take_name(cleaner);
	element->kept = is_kept(cleaner, element->name);
	cleaner->depth++;
	/* Of a link the content stays. */
	if (!element->kept && !is_name(element->name, "a") && !cleaner->dropped)
		cleaner->dropped = cleaner->depth;
	write = element->kept && !cleaner->dropped;
	if (write)
		fprintf(cleaner->to, "<%.*s", (int)element->name.length, element->name.at);
	take_attributes(cleaner, write);
	if (write)
		fputc('>', cleaner->to);
	if (!cleaner->fault && *cleaner->at == '/') {
		cleaner->at++;
		close_element(cleaner);
	}
	if (!cleaner->fault && *cleaner->at++ != '>')
		cleaner->fault = "a tag has no end";
}

static void close_tag(struct cleaner *cleaner)
{
	struct slice name;

	cleaner->at += 2;
	name = take_name(cleaner);
	skip_blanks(cleaner);
	if (*cleaner->at != '>' || cleaner->open[cleaner->depth - 1].name.length != name.length ||
	    memcmp(cleaner->open[cleaner->depth - 1].name.at, name.at, name.length)) {
		cleaner->fault = "its tags do not match";
		return;
	}
	cleaner->at++;
	close_element(cleaner);
}

/* What begins with `from` goes up to `to`; as text, or not at all. */
static void take_section(struct cleaner *cleaner, const char *from, const char *to, bool text)
{
	const char *start = cleaner->at + strlen(from);
	const char *end = strstr(start, to);

	if (!end) {
		cleaner->fault = "a comment has no end";
		return;
	}
	if (text && !cleaner->dropped)
		write_text(cleaner->to, start, (size_t)(end - start));
	cleaner->at = end + strlen(to);
}

/* What stands in front of the end of the style sheet that has just been opened, and that is left out as an element. */
static void take_style(struct cleaner *cleaner)
{
	static const char wrapper[] = "<![CDATA[";
	const char *from = cleaner->at, *end = strstr(from, "</style");

	if (!end) {
		cleaner->fault = "a style sheet has no end";
		return;
	}
	while (is_blank(*from))
		from++;
	if (!strncmp(from, wrapper, sizeof(wrapper) - 1))
		from += sizeof(wrapper) - 1;
	cleaner->at = end;
	if (cleaner->options->follow_page || cleaner->dropped != cleaner->depth || end <= from)
		return;
	fputs("<style>", cleaner->to);
	svg_style_write(cleaner->to, from, (size_t)(end - from));
	fputs("</style>", cleaner->to);
}

static void take_next(struct cleaner *cleaner)
{
	const char *at = cleaner->at;
	size_t depth = cleaner->depth;

	if (!strncmp(at, "<!--", 4)) {
		take_section(cleaner, "<!--", "-->", false);
	} else if (!strncmp(at, "<![CDATA[", 9)) {
		take_section(cleaner, "<![CDATA[", "]]>", true);
	} else if (!strncmp(at, "<?", 2)) {
		take_section(cleaner, "<?", "?>", false);
	} else if (!strncmp(at, "</", 2)) {
		close_tag(cleaner);
	} else if (*at == '<') {
		open_tag(cleaner);
		if (!cleaner->fault && cleaner->depth > depth &&
		    is_name(cleaner->open[depth].name, "style"))
			take_style(cleaner);
	} else {
		cleaner->at += strcspn(at, "<");
		if (!cleaner->dropped)
			write_text(cleaner->to, at, (size_t)(cleaner->at - at));
		if (!*cleaner->at)
			cleaner->fault = "it ends too early";
	}
}

/* The first <svg that is a whole name. */
static const char *find_root(const char *text)
{
	const char *at = text;

	while ((at = strstr(at, "<svg")) != NULL && !is_blank(at[4]) && at[4] != '>')
		at += 4;
	return at;
}

int svg_clean(const char *text, const struct svg_options *options, char **clean,
	      struct rs_error *error)
{
	struct cleaner cleaner = { .at = find_root(text), .options = options };
	size_t bytes;
	bool whole;

	*clean = NULL;
	if (!cleaner.at)
		return error_set(error, -EINVAL, "is no drawing");
	cleaner.to = open_memstream(clean, &bytes);
	if (!cleaner.to)
		return error_no_memory(error, "a drawing");
	do {
		take_next(&cleaner);
	} while (!cleaner.fault && cleaner.depth);
	whole = !ferror(cleaner.to);
	if (fclose(cleaner.to) || !whole || cleaner.fault) {
		free(*clean);
		*clean = NULL;
		return cleaner.fault ? error_set(error, -EINVAL, "is a damaged drawing: %s",
						 cleaner.fault) :
				       error_no_memory(error, "a drawing");
	}
	return 0;
}
