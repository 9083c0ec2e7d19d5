<?php

namespace Acme\Greet;

class Greet
{
    public static function hello(string $name): string
    {
        return "Hello from $name";
    }
}
