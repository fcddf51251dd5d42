vcl 4.1;

# Varnish in front of Pantler's HTTP gateway, or of a site that sends the headers of BuildHeaders.
# Needs Varnish 6.0 or newer with the xkey module (Debian: varnish and varnish-modules).
#
# Of the graces it heeds stale-while-revalidate, also while the backend fails. stale-if-error it
# passes over: what is past its other grace is not given, whatever the backend does.
#
# What it takes from Pantler's target `varnish`, and from whoever else is in the acl:
#
#   PURGE /            xkey-purge: TAG TAG …       forgets what has one of these tags
#   PURGE /            xkey-softpurge: TAG TAG …   makes it stale: given within its grace while it is
#                                                  fetched anew
#   PURGE /            purge-all: 1                forgets everything
#   PURGE /some/path   Host: shop.example          forgets the URL, with all its variants
#   PURGE /some/path   soft-purge: 1               makes it stale
#
# Tags are as the `xkey` header of responses has them. The answer is 200 with a reason that says how
# many objects were there: `Purged 3` (each counts once for each of the tags that it has), `Purged
# all`; 405: the client is not in the acl.

import purge;
import std;
import xkey;

backend default {
    .host = "127.0.0.1";
    .port = "8080";
}

# Who may purge: the workers of Pantler.
acl purgers {
    "127.0.0.1";
    "::1";
}

sub vcl_recv {
    if (req.method == "PURGE") {
        if (client.ip !~ purgers) {
            return (synth(405, "Not allowed to purge"));
        }
        if (req.http.purge-all) {
            if (std.ban("obj.status != 0")) {
                return (synth(200, "Purged all"));
            }
            return (synth(500, "Not purged: " + std.ban_error()));
        }
        if (req.http.xkey-purge) {
            return (synth(200, "Purged " + xkey.purge(req.http.xkey-purge)));
        }
        if (req.http.xkey-softpurge) {
            return (synth(200, "Purged " + xkey.softpurge(req.http.xkey-softpurge)));
        }
        # The object is found as for a GET: below. What is being fetched is waited for, so that the
        # answer to an older request is not kept behind the purge; without a grace also if there is
        # an object that is given meanwhile.
        set req.http.host = std.tolower(req.http.host);
        set req.grace = 0s;
        return (hash);
    }
    # In front of nothing but the gateway: let the world see entries alone, which no cookie changes.
    # if (req.url !~ "^/v1/") {
    #     return (synth(404));
    # }
    # unset req.http.Cookie;
}

sub vcl_hit {
    if (req.method == "PURGE") {
        call purge_url;
    }
}

sub vcl_miss {
    if (req.method == "PURGE") {
        call purge_url;
    }
}

sub vcl_pass {
    if (req.method == "PURGE") {
        return (synth(200, "Purged 0"));
    }
}

sub purge_url {
    if (req.http.soft-purge) {
        return (synth(200, "Purged " + purge.soft(0s)));
    }
    return (synth(200, "Purged " + purge.hard()));
}

sub vcl_synth {
    if (req.method == "PURGE") {
        unset resp.http.Retry-After;
        set resp.http.Content-Type = "text/plain; charset=utf-8";
        synthetic(resp.reason + {"
"});
        return (deliver);
    }
}

sub vcl_backend_response {
    # What is given within its grace stays while the backend fails: the failure would take its place.
    if (beresp.status >= 500 && bereq.is_bgfetch) {
        return (abandon);
    }
    # Varnish knows max-age, s-maxage and stale-while-revalidate; but what has no grace it would
    # give for 10 s more.
    if (beresp.http.Cache-Control !~ "(^|[ ,])stale-while-revalidate=[0-9]"
        || beresp.http.Cache-Control ~ "(^|[ ,])must-revalidate([ ,]|$)") {
        set beresp.grace = 0s;
    }
    # The lifetime for CDNs alone (RFC 9213) it has to be told.
    if (beresp.http.CDN-Cache-Control ~ "(^|[ ,])max-age=[0-9]+") {
        set beresp.ttl = std.duration(
            regsub(beresp.http.CDN-Cache-Control, "^.*?max-age=([0-9]+).*$", "\1") + "s", 0s)
            - std.duration(beresp.http.Age + "s", 0s);
        set beresp.http.X-Age-Here = std.integer(beresp.http.Age, 0);
    }
}

sub vcl_deliver {
    # Where CDNs keep it longer, browsers count their max-age from now: else it would be stale when
    # they get it. The time at which Varnish got it is not told.
    if (resp.http.X-Age-Here) {
        set resp.http.Age = resp.http.X-Age-Here;
        set resp.http.Date = now;
        unset resp.http.X-Age-Here;
    }
    # Tags are between Pantler and Varnish.
    unset resp.http.xkey;
    unset resp.http.Surrogate-Key;
    unset resp.http.Cache-Tag;
    unset resp.http.CDN-Cache-Control;
    if (obj.hits > 0) {
        set resp.http.X-Cache = "HIT";
    } else {
        set resp.http.X-Cache = "MISS";
    }
}
