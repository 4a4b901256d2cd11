// SPDX-License-Identifier: MIT
#include "bench/report/svg_style.h"

#include <stdbool.h>
#include <string.h>

#define SCOPE ".flame"
/* Letters that no harmless selector or declaration needs. */
#define REFUSED "<>&\\@{}*/"

static bool is_harmless(const char *text, size_t length)
{
	size_t at;

	for (at = 0; at < length; at++)
		if (!text[at] || strchr(REFUSED, text[at]) ||
		    (length - at >= 4 && !strncasecmp(text + at, "url(", 4)))
			return false;
	return memmem(text, length, "image-set", 9) == NULL;
}

static bool is_in_scope(const char *selector)
{
	static const char after[] = " .:[{,";
	size_t length = strlen(SCOPE);

	return !strncmp(selector, SCOPE, length) && strchr(after, selector[length]);
}

/* Each part of a list stands for itself. */
static void write_selectors(FILE *to, const char *text, size_t length)
{
	const char *end = text + length;

	while (text < end) {
		size_t part = strcspn(text, ",{");

		while (part && strchr(" \t\r\n", *text)) {
			text++;
			part--;
		}
		fprintf(to, "%s%.*s", is_in_scope(text) ? "" : SCOPE " ", (int)part, text);
		text += part;
		if (text < end)
			fputc(*text++, to);
	}
}

void svg_style_write(FILE *to, const char *text, size_t length)
{
	const char *end = text + length;
	bool in_media = false;

	while (text < end) {
		size_t head, body;

		while (text < end && strchr(" \t\r\n", *text))
			text++;
		if (text < end && *text == '}' && in_media) {
			fputs("}\n", to);
			in_media = false;
			text++;
			continue;
		}
		head = strcspn(text, "{}");
		if (text + head >= end || text[head] != '{')
			break;
		if (!strncmp(text, "@media", 6) && !in_media && is_harmless(text + 1, head - 1)) {
			fprintf(to, "%.*s{\n", (int)head, text);
			in_media = true;
			text += head + 1;
			continue;
		}
		body = strcspn(text + head + 1, "{}");
		if (text + head + 1 + body >= end || text[head + 1 + body] != '}')
			break;
		if (is_harmless(text, head) && is_harmless(text + head + 1, body)) {
			write_selectors(to, text, head);
			fprintf(to, "{%.*s}\n", (int)body, text + head + 1);
		}
		text += head + body + 2;
	}
	fputs(in_media ? "}\n" : "", to);
}
