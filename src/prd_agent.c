
/*
 * Families of user agents: a table of words, found in one pass over the agent
 * from each word's first letter on.
 */


#include "prd_agent.h"


#define PRD_AGENT_SCAN  512


typedef struct {
    char                   needle[22];
    char                   family[22];
} prd_agent_t;


/*
 * Ordered: the first needle that occurs as a whole word decides, wherever in
 * the agent it is.  Bots come first because they claim to be Mozilla and
 * Chrome; then programs; then browsers, those that claim to be another one
 * before the other.  What calls itself by its own name first ("reqwest/0.11")
 * needs no entry unless it has several names.  A "/" at the end is for words
 * that are also in names of phones ("Lenovo K6").
 */

static const prd_agent_t  prd_agents[] = {

    /* crawlers */

    { "googlebot",             "googlebot" },
    { "adsbot-google",         "googlebot" },
    { "mediapartners-google",  "googlebot" },
    { "storebot-google",       "googlebot" },
    { "apis-google",           "googlebot" },
    { "feedfetcher-google",    "googlebot" },
    { "google-read-aloud",     "googlebot" },
    { "googleother",           "googlebot" },
    { "bingbot",               "bingbot" },
    { "bingpreview",           "bingbot" },
    { "adidxbot",              "bingbot" },
    { "msnbot",                "bingbot" },
    { "gptbot",                "gptbot" },
    { "chatgpt-user",          "chatgpt-user" },
    { "oai-searchbot",         "oai-searchbot" },
    { "claudebot",             "claudebot" },
    { "claude-user",           "claude-user" },
    { "claude-searchbot",      "claude-searchbot" },
    { "anthropic-ai",          "claudebot" },
    { "ccbot",                 "ccbot" },
    { "bytespider",            "bytespider" },
    { "perplexitybot",         "perplexitybot" },
    { "perplexity-user",       "perplexity-user" },
    { "amazonbot",             "amazonbot" },
    { "applebot",              "applebot" },
    { "meta-externalagent",    "meta-externalagent" },
    { "facebookexternalhit",   "facebookexternalhit" },
    { "facebookcatalog",       "facebookexternalhit" },
    { "facebot",               "facebookexternalhit" },
    { "twitterbot",            "twitterbot" },
    { "linkedinbot",           "linkedinbot" },
    { "slackbot",              "slackbot" },
    { "discordbot",            "discordbot" },
    { "telegrambot",           "telegrambot" },
    { "whatsapp",              "whatsapp" },
    { "pinterestbot",          "pinterestbot" },
    { "redditbot",             "redditbot" },
    { "yandexbot",             "yandexbot" },
    { "baiduspider",           "baiduspider" },
    { "duckduckbot",           "duckduckbot" },
    { "petalbot",              "petalbot" },
    { "sogou",                 "sogou" },
    { "slurp",                 "slurp" },
    { "ahrefsbot",             "ahrefsbot" },
    { "ahrefssiteaudit",       "ahrefsbot" },
    { "semrushbot",            "semrushbot" },
    { "siteauditbot",          "semrushbot" },
    { "mj12bot",               "mj12bot" },
    { "dotbot",                "dotbot" },
    { "dataforseobot",         "dataforseobot" },
    { "ia_archiver",           "archive.org_bot" },
    { "archive.org_bot",       "archive.org_bot" },
    { "uptimerobot",           "uptimerobot" },
    { "pingdom.com_bot",       "pingdom" },
    { "google-inspectiontool", "googlebot" },

    /* browsers without a person, and loads */

    { "headlesschrome",        "headlesschrome" },
    { "phantomjs",             "phantomjs" },
    { "puppeteer",             "headlesschrome" },
    { "playwright",            "playwright" },
    { "k6/",                   "k6" },
    { "apachebench",           "apachebench" },
    { "jmeter",                "jmeter" },

    /* libraries and tools; the ones that name what they stand on first */

    { "postmanruntime",        "postmanruntime" },
    { "scrapy",                "scrapy" },
    { "python-requests",       "python-requests" },
    { "aiohttp",               "aiohttp" },
    { "httpx",                 "httpx" },
    { "urllib3",               "urllib3" },
    { "python-urllib",         "python-urllib" },
    { "axios",                 "axios" },
    { "node-fetch",            "node-fetch" },
    { "undici",                "undici" },
    { "node-superagent",       "superagent" },
    { "node",                  "undici" },
    { "go-http-client",        "go-http-client" },
    { "okhttp",                "okhttp" },
    { "apache-httpclient",     "apache-httpclient" },
    { "java-http-client",      "java" },
    { "java",                  "java" },
    { "wget",                  "wget" },
    { "wget2",                 "wget" },
    { "libcurl",               "curl" },
    { "curl",                  "curl" },
    { "libwww-perl",           "libwww-perl" },
    { "guzzlehttp",            "guzzle" },
    { "windowspowershell",     "powershell" },
    { "powershell",            "powershell" },
    { "cfnetwork",             "cfnetwork" },

    /* applications that show pages */

    { "fban",                  "facebook" },
    { "fbav",                  "facebook" },
    { "fb_iab",                "facebook" },
    { "instagram",             "instagram" },
    { "micromessenger",        "wechat" },
    { "gsa/",                  "google-app" },
    { "electron",              "electron" },

    /* browsers */

    { "edg",                   "edge" },
    { "edga",                  "edge" },
    { "edgios",                "edge" },
    { "edge",                  "edge" },
    { "opr",                   "opera" },
    { "opt/",                  "opera" },
    { "opios",                 "opera" },
    { "opera",                 "opera" },
    { "samsungbrowser",        "samsung" },
    { "yabrowser",             "yandex" },
    { "vivaldi",               "vivaldi" },
    { "ucbrowser",             "ucbrowser" },
    { "miuibrowser",           "miui" },
    { "silk/",                 "silk" },
    { "duckduckgo",            "duckduckgo" },
    { "ddg",                   "duckduckgo" },
    { "seamonkey",             "seamonkey" },
    { "palemoon",              "palemoon" },
    { "thunderbird",           "thunderbird" },
    { "fxios",                 "firefox" },
    { "firefox",               "firefox" },
    { "crios",                 "chrome" },
    { "chromium",              "chrome" },
    { "chrome",                "chrome" },
    { "msie",                  "ie" },
    { "trident",               "ie" },
    { "safari",                "safari" },
    { "dalvik",                "dalvik" },
    { "applewebkit",           "webkit" }
};

#define PRD_NAGENTS  (sizeof(prd_agents) / sizeof(prd_agents[0]))

_Static_assert(PRD_NAGENTS <= PRD_AGENTS, "prd_agent_index_t has room");


static int
prd_is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}


static int
prd_is_product(char c)
{
    return prd_is_alnum(c) || c == '-' || c == '_' || c == '.';
}


/* Whether needle stands at p as a whole word; one with "/" ends anyhow. */

static int
prd_agent_is(const char *p, const char *last, const char *needle)
{
    for ( /* void */ ; *needle != '\0'; p++, needle++) {
        if (p == last || *p != *needle) {
            return 0;
        }
    }

    return p == last || !prd_is_alnum(*p) || needle[-1] == '/';
}


void
prd_agent_index(prd_agent_index_t *index)
{
    size_t    i;
    uint8_t  *head;

    memset(index->head, PRD_NAGENTS, sizeof(index->head));

    for (i = PRD_NAGENTS; i-- != 0; /* void */ ) {
        head = &index->head[(uint8_t) prd_agents[i].needle[0]];

        index->next[i] = *head;
        *head = (uint8_t) i;
    }
}


size_t
prd_agent_family(prd_str_t agent, char *out)
{
    prd_agent_index_t  index;

    prd_agent_index(&index);

    return prd_agent_find(&index, agent, out);
}


size_t
prd_agent_find(const prd_agent_index_t *index, prd_str_t agent, char *out)
{
    char      buf[PRD_AGENT_SCAN], *p, *last, *start;
    size_t    i, n, best;

    static const char  compatible[] = "mozilla/5.0 (compatible; ";

    if (agent.len == 0) {
        return 0;
    }

    n = prd_min(agent.len, PRD_AGENT_SCAN);

    for (i = 0; i < n; i++) {
        buf[i] = agent.data[i];

        if (buf[i] >= 'A' && buf[i] <= 'Z') {
            buf[i] |= 0x20;
        }
    }

    last = buf + n;
    best = PRD_NAGENTS;

    for (p = buf; p < last; p++) {

        if (!prd_is_alnum(*p) || (p != buf && prd_is_alnum(p[-1]))) {
            continue;
        }

        for (i = index->head[(uint8_t) *p]; i < best; i = index->next[i]) {
            if (prd_agent_is(p, last, prd_agents[i].needle)) {
                best = i;
            }
        }
    }

    if (best != PRD_NAGENTS) {
        n = strlen(prd_agents[best].family);
        memcpy(out, prd_agents[best].family, n);
        return n;
    }

    /* "Mozilla/5.0 (compatible; FooBot/1.0; ..." says who it is there */

    start = buf;

    if (n > sizeof(compatible) - 1
        && memcmp(buf, compatible, sizeof(compatible) - 1) == 0
        && prd_is_alnum(buf[sizeof(compatible) - 1]))
    {
        start = buf + sizeof(compatible) - 1;
    }

    while (start < last && !prd_is_alnum(*start)) {
        start++;
    }

    for (p = start; p < last && prd_is_product(*p); p++) {
        /* void */
    }

    if (p == start) {
        memcpy(out, "other", 5);
        return 5;
    }

    n = prd_min((size_t) (p - start), PRD_AGENT_MAX);
    memcpy(out, start, n);

    return n;
}
