
/* Families of user agents. */


#include <stdlib.h>

#include "prd_agent.h"
#include "tap.h"
#include "text.h"


static void
test_agent(void)
{
    char    out[PRD_AGENT_MAX], *big;
    size_t  i, n;

#define WEBKIT  "AppleWebKit/537.36 (KHTML, like Gecko)"
#define WIN     "Mozilla/5.0 (Windows NT 10.0; Win64; x64) "
#define IOS     "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) "     \
                "AppleWebKit/605.1.15 (KHTML, like Gecko) "
#define DROID   "Mozilla/5.0 (Linux; Android 13; SM-S901B) "

    static const struct {
        const char  *agent;
        const char  *family;
    } agents[] = {
        { WIN WEBKIT " Chrome/126.0.0.0 Safari/537.36", "chrome" },
        { WIN WEBKIT " Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0",
          "edge" },
        { WIN WEBKIT " Chrome/58.0 Safari/537.36 Edge/16.16299", "edge" },
        { DROID WEBKIT " Chrome/126.0.0.0 Mobile Safari/537.36 EdgA/126.0",
          "edge" },
        { IOS "Version/17.0 EdgiOS/126.0 Mobile/15E148 Safari/605.1.15",
          "edge" },
        { WIN WEBKIT " Chrome/126.0.0.0 Safari/537.36 OPR/111.0.0.0",
          "opera" },
        { "Opera/9.80 (Windows NT 6.1; WOW64) Presto/2.12 Version/12.18",
          "opera" },
        { WIN "Gecko/20100101 Firefox/127.0", "firefox" },
        { IOS "FxiOS/127.0 Mobile/15E148 Safari/605.1.15", "firefox" },
        { IOS "CriOS/126.0 Mobile/15E148 Safari/604.1", "chrome" },
        { IOS "Version/17.5 Mobile/15E148 Safari/604.1", "safari" },
        { IOS "Mobile/15E148", "webkit" },
        { DROID WEBKIT " SamsungBrowser/25.0 Chrome/121.0 Mobile "
          "Safari/537.36", "samsung" },
        { "Mozilla/5.0 (Linux; Android 6.0; Lenovo K6 Power) " WEBKIT
          " Chrome/90.0 Mobile Safari/537.36", "chrome" },
        { "Mozilla/5.0 (X11; Linux x86_64) " WEBKIT
          " HeadlessChrome/126.0.0.0 Safari/537.36", "headlesschrome" },
        { "Mozilla/5.0 (Windows NT 6.1; Trident/7.0; rv:11.0) like Gecko",
          "ie" },
        { "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1)", "ie" },

        { "Mozilla/5.0 (compatible; Googlebot/2.1; "
          "+http://www.google.com/bot.html)", "googlebot" },
        { "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) " WEBKIT
          " Chrome/126.0 Mobile Safari/537.36 (compatible; Googlebot/2.1; "
          "+http://www.google.com/bot.html)", "googlebot" },
        { "Googlebot-Image/1.0", "googlebot" },
        { "Mozilla/5.0 " WEBKIT "; compatible; bingbot/2.0; "
          "+http://www.bing.com/bingbot.htm) Chrome/103.0 Safari/537.36",
          "bingbot" },
        { "Mozilla/5.0 " WEBKIT "; compatible; GPTBot/1.2; "
          "+https://openai.com/gptbot)", "gptbot" },
        { "Mozilla/5.0 " WEBKIT "; compatible; ClaudeBot/1.0; "
          "+claudebot@anthropic.com)", "claudebot" },
        { "CCBot/2.0 (https://commoncrawl.org/faq/)", "ccbot" },
        { "Mozilla/5.0 (Linux; Android 5.0) " WEBKIT " Mobile Safari/537.36 "
          "(compatible; Bytespider; spider-feedback@bytedance.com)",
          "bytespider" },
        { "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
          "ahrefsbot" },
        { "Mozilla/5.0 (compatible; SemrushBot/7~bl; "
          "+http://www.semrush.com/bot.html)", "semrushbot" },
        { "facebookexternalhit/1.1 "
          "(+http://www.facebook.com/externalhit_uatext.php)",
          "facebookexternalhit" },
        { "Mozilla/5.0 (compatible; FooBot/1.0; +http://foo.example/)",
          "foobot" },

        { "curl/8.5.0", "curl" },
        { "libcurl-agent/1.0", "curl" },
        { "Wget/1.21.4", "wget" },
        { "python-requests/2.31.0", "python-requests" },
        { "Python-urllib/3.11", "python-urllib" },
        { "Python/3.11 aiohttp/3.9.1", "aiohttp" },
        { "python-httpx/0.27.0", "httpx" },
        { "Go-http-client/1.1", "go-http-client" },
        { "okhttp/4.12.0", "okhttp" },
        { "Java/1.8.0_392", "java" },
        { "Java-http-client/17.0.9", "java" },
        { "Apache-HttpClient/4.5.14 (Java/17.0.9)", "apache-httpclient" },
        { "axios/1.6.2", "axios" },
        { "node-fetch/1.0 (+https://github.com/bitinn/node-fetch)",
          "node-fetch" },
        { "undici", "undici" },
        { "node", "undici" },
        { "PostmanRuntime/7.36.0", "postmanruntime" },
        { "k6/0.49.0 (https://k6.io/)", "k6" },

        { "CURL/8", "curl" },
        { "reqwest/0.11", "reqwest" },
        { "My_App-2.1/5 (x)", "my_app-2.1" },
        { "Mozilla/5.0", "mozilla" },
        { "javascript/1", "javascript" },
        { "mycurl/1", "mycurl" },
        { "curling/1", "curling" },
        { " (foo) bar", "foo" },
        { "abcdefghijklmnopqrstuvwxyz0123456789", "abcdefghijklmnopqrstuvwxyz"
          "012345" },
        { "()", "other" },
        { "-", "other" },
        { "\xd0\x9f\xd1\x80\xd0\xb8", "other" },
        { "", "" }
    };

    for (i = 0; i < COUNT(agents); i++) {
        n = prd_agent_family(str(agents[i].agent), out);
        is_str(out, n, agents[i].family, "agent %.60s", agents[i].agent);
    }

    n = prd_agent_family((prd_str_t) { 6, "\0\0a\0bc" }, out);
    is_str(out, n, "a", "NULs are no part of a product");

    big = fill(" a", BIG);
    memcpy(big + 513, "curl/8", 6);
    n = prd_agent_family((prd_str_t) { BIG, big }, out);
    is_str(out, n, "a", "64 KiB: beyond 512 bytes nothing is seen");

    memcpy(big + 506, " curl/8", 7);
    n = prd_agent_family((prd_str_t) { BIG, big }, out);
    is_str(out, n, "curl", "... and up to there all");
    free(big);
}


int
main(void)
{
    test_agent();

    return done_testing();
}
