
/*
 * One client: what the zone knows of it, what a request of it would meet now,
 * and why the last ones met what they met.
 *
 * The raw key comes as the body of a POST and goes nowhere but through the
 * zone's keyed hash: no log line and no answer has it.
 */


#include "ngx_http_predictive_explain.h"
#include "prd_node.h"


static void ngx_http_predictive_explain_client(ngx_http_predictive_api_t *api,
    uint64_t tag, const char *form);


/* POST: the body is the key. */

void
ngx_http_predictive_explain(ngx_http_predictive_api_t *api)
{
    uint64_t     tag;
    ngx_int_t    rc;
    const char  *form;

    if (api->body.len == 0) {
        ngx_http_predictive_api_problem(api, NGX_HTTP_BAD_REQUEST,
            "The body is empty; it must be the client's key.", 0);
        return;
    }

    rc = ngx_http_predictive_explain_find(api, &tag, &form);

    if (rc == NGX_ERROR) {
        api->json.failed = 1;
        return;
    }

    if (rc == NGX_ABORT) {
        ngx_http_predictive_api_problem(api, NGX_HTTP_BAD_REQUEST,
            "\"as\" must be key, token, address, agent or newcomer.", 0);
        return;
    }

    ngx_http_predictive_explain_client(api, tag, form);
}


/* The keyed hash in hex, as $predictive_key and /top have it. */

void
ngx_http_predictive_explain_hex(ngx_http_predictive_api_t *api)
{
    u_char    hex[16];
    uint64_t  tag;

    tag = 0;

    if (api->rest.len == 16) {
        ngx_strlow(hex, api->rest.data, 16);
        tag = prd_node_unhex((char *) hex, 16);
    }

    /* no client has one of those that mean something else in the table */

    if (tag != prd_tag(tag)) {
        ngx_http_predictive_api_problem(api, NGX_HTTP_BAD_REQUEST,
            "A key in a URL is its hash, 16 hexadecimal digits; "
            "raw keys are for the body of POST explain.", 0);
        return;
    }

    ngx_http_predictive_explain_client(api, tag, NULL);
}


static void
ngx_http_predictive_explain_client(ngx_http_predictive_api_t *api,
    uint64_t tag, const char *form)
{
    prd_answer_t                     answer;
    ngx_array_t                      questions;
    ngx_http_predictive_json_t      *json;
    ngx_http_predictive_client_t     client;
    ngx_http_predictive_question_t  *q;

    json = &api->json;

    switch (ngx_http_predictive_explain_questions(api, &questions)) {

    case NGX_OK:
        break;

    case NGX_DECLINED:
        ngx_http_predictive_api_problem(api, NGX_HTTP_BAD_REQUEST,
            "\"rate\" must be a rate such as 10r/s, \"burst\" a number.", 0);
        return;

    default:
        json->failed = 1;
        return;
    }

    q = questions.elts;

    client.tag = tag;
    ngx_http_predictive_explain_read(&api->zone->view, &client);

    if (client.slot == PRD_NO_SLOT) {
        ngx_http_predictive_api_problem(api, NGX_HTTP_NOT_FOUND,
            "The zone has no client of this key: it has sent nothing yet, or "
            "was forgotten. A request of it would be a newcomer's.", 1);

    } else {
        ngx_http_predictive_json_open(json, NULL, '{');
    }

    ngx_http_predictive_json_string(json, "zone", &api->zone->name);
    ngx_http_predictive_json_hex(json, "key", tag);

    if (form) {
        ngx_http_predictive_json_text(json, "read_as", form);
    }

    ngx_http_predictive_json_bool(json, "known", client.slot != PRD_NO_SLOT);

    if (client.slot != PRD_NO_SLOT) {
        ngx_http_predictive_explain_ask(api, &client, &q[0].ask, &answer);
        ngx_http_predictive_explain_known(api, &client, &answer);
    }

    ngx_http_predictive_explain_would(api, &client, &questions);
    ngx_http_predictive_explain_decisions(api, tag);

    ngx_http_predictive_json_close(json, '}');
}
