"""URLs that purges name are those that visitors ask for."""

import pytest
from pantler_server.engines.cdn.url import entry_urls, wire_url


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("http://shop.example:80/x", "http://shop.example/x"),
        ("https://shop.example:443", "https://shop.example/"),
        ("https://shop.example:80/x", "https://shop.example:80/x"),
        ("https://shop.example:/x", "https://shop.example/x"),
        ("https://shop.example:0443/x", "https://shop.example/x"),
        ("http://[::1]:80/x", "http://[::1]/x"),
        ("http://[::1]/x", "http://[::1]/x"),
        ("HTTPS://Shop.Example:8443/X", "https://shop.example:8443/X"),
        ("http://a.example/b/../c/./d", "http://a.example/c/d"),
        ("http://a.example/../../c/..", "http://a.example/"),
        ("http://a.example/b/c/.", "http://a.example/b/c/"),
        ("http://a.example/%2e%2E/c", "http://a.example/c"),
        ("http://a.example//b//../c", "http://a.example//b/c"),
        ("http://a.example/%7euser/%41%2d%5f", "http://a.example/~user/A-_"),
        ("http://a.example/a%2fb%3ac%2c%20%e4", "http://a.example/a%2Fb%3Ac%2C%20%E4"),
        ("http://a.example/%2541", "http://a.example/%2541"),
        ("http://a.example/%zz%", "http://a.example/%zz%"),
        ("http://a.example?q=%7e%26&r=../x", "http://a.example/?q=~%26&r=../x"),
        ("http://a.example/x#part", "http://a.example/x"),
        ("http://a.example/\u00e4", "http://a.example/%C3%A4"),
    ],
)
def test_urls_are_written_as_rfc_3986_normalises_them(url: str, normal: str) -> None:
    assert wire_url(url) == normal
    assert wire_url(normal) == normal


@pytest.mark.parametrize(
    ("template", "key", "url"),
    [
        ("http://a.example/p/{key}", "tea/green@2:a,b;c=d&e+f", "p/tea/green@2:a,b;c=d&e+f"),
        ("http://a.example/p/{key}", "50% of\u00e4?#\\", "p/50%25%20of%C3%A4%3F%23%5C"),
        ("http://a.example/p/{key}.html", "a%2Fb", "p/a%252Fb.html"),
        ("http://a.example/{key}/{key}", "a", "a/a"),
        ("http://a.example/?p={key}&q=1", "a/b&c=d+e%", "?p=a/b%26c%3Dd%2Be%25&q=1"),
        ("http://a.example:80/p/{key}", "{key}", "p/%7Bkey%7D"),
        ("http://a.example/p/{key}", "../q", "q"),
        ("http://a.example/p/.{key}", ".", ""),
        ("http://a.example/p/{key}/../x", "a/b", "p/a/x"),
        ("HTTP://A.example/%7e/%c3/{key}#part", "a", "~/%C3/a"),
        ("http://a.example/\u00e4/{key}", "\u00e4", "%C3%A4/%C3%A4"),
        ("http://a.example/p?q=/../{key}", "/..", "p?q=/..//.."),
    ],
)
def test_the_url_of_an_entry_has_its_key_as_a_path_has_it(
    template: str, key: str, url: str
) -> None:
    assert list(entry_urls([template], key)) == [f"http://a.example/{url}"]
