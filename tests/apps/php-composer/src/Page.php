<?php

namespace App;

use Acme\Greet\Greet;

class Page
{
    private const VERSION = 'v1';

    public static function text(): string
    {
        $built = json_decode(file_get_contents(__DIR__ . '/../built.json'))->built ? 'true' : 'false';
        return Greet::hello('PHP') . ' ' . self::VERSION . ", built $built, " . gmp_strval(gmp_pow(2, 70)) . "\n";
    }
}
