//! The proxy: routes -> Caddyfile text -> load only if its structure changed; live upstreams by the resolver.
