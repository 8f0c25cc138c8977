<?php
// As the router of PHP's web server: gives back what it is sent. php.php URL FILE: posts a file, prints the answer.
if (PHP_SAPI === 'cli-server') {
    header('Content-Type: application/octet-stream');
    echo file_get_contents('php://input');
    return;
}
$post = ['method' => 'POST', 'content' => file_get_contents($argv[2]), 'header' => 'Content-Type: application/octet-stream'];
$answer = file_get_contents($argv[1], false, stream_context_create(['http' => $post]));
if ($answer === false) {
    exit(1);
}
echo $answer;
