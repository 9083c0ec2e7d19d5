<?php

require __DIR__ . '/../vendor/autoload.php';

header('Content-Type: text/plain');
// Every path that is no file comes here.
echo match (parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH)) {
    '/' => App\Page::text(),
    '/where' => $_SERVER['DOCUMENT_ROOT'] . ' ' . getenv('APP_ENV') . ' ' . getenv('COLOR') . "\n",
    default => http_response_code(404) ? "nothing here\n" : '',
};
