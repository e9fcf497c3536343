
/*
 * What differs between the versions of nginx and its forks; nowhere else.
 */


#ifndef _NGX_HTTP_PREDICTIVE_COMPAT_H_INCLUDED_
#define _NGX_HTTP_PREDICTIVE_COMPAT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* Multi-value headers are linked lists since 1.23.0. */

#if (nginx_version >= 1023000)
#define ngx_http_predictive_header_end(h)  (h)->next = NULL
#else
#define ngx_http_predictive_header_end(h)
#endif


#endif /* _NGX_HTTP_PREDICTIVE_COMPAT_H_INCLUDED_ */
