/* command_line.c: the key=value words that --append gives. */
#include "runtime.h"

static u32 asked_for; /* words of the command line that an option took */

static bool ends(char c) { return c == 0 || c == ' '; }

/* The word after " key", or the end of the line. */
static const char *next_word(const char *at)
{
    while (!ends(*at))
        at++;
    while (*at == ' ')
        at++;
    return at;
}

static const char *value_of(const char *key)
{
    const char *value = NULL;
    for (const char *word = boot->command_line; *word; word = next_word(word)) {
        u32 length = 0;
        while (key[length] && word[length] == key[length])
            length++;
        if (!key[length] && word[length] == '=') {
            value = word + length + 1; /* the last one counts */
            asked_for++;
        }
    }
    return value;
}

u64 option(const char *key, u64 fallback, u64 low, u64 high)
{
    const char *text = value_of(key);
    u64 value = 0;
    if (!text)
        return fallback;
    for (const char *at = text; at == text || !ends(*at); at++) {
        CHECK(*at >= '0' && *at <= '9' && value <= high, "%s: not a number from %lu to %lu", key, low, high);
        value = value * 10 + *at - '0';
    }
    CHECK(value >= low && value <= high, "%s: not a number from %lu to %lu", key, low, high);
    return value;
}

u32 option_choice(const char *key, const char *const *choices)
{
    const char *text = value_of(key);
    if (!text)
        return 0;
    for (u32 index = 0; choices[index]; index++) {
        u32 length = 0;
        while (choices[index][length] && choices[index][length] == text[length])
            length++;
        if (!choices[index][length] && ends(text[length]))
            return index;
    }
    print("%s is one of:", key);
    for (u32 index = 0; choices[index]; index++)
        print(" %s", choices[index]);
    print("\n");
    fail("%s: unknown choice", key);
}

void options_end(void)
{
    u32 words = 0;
    const char *line = boot->command_line;
    for (const char *word = *line == ' ' ? next_word(line) : line; *word; word = next_word(word))
        words++;
    CHECK(words == asked_for, "a word of the command line is unknown to this guest: %s", line);
}
