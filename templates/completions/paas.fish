# Completes the commands of paas in fish. Generated from the command tree: `UPDATE=1 cargo test generated` writes it anew.
# The commands are known here; the binary answers for the rest, because it knows the apps of this machine.

function __paas_answer
    set --local token (commandline --current-token)
    set --local answer (COMPLETE=fish command paas -- (commandline --current-process --tokenize --cut-at-cursor) $token 2>/dev/null)
    # Options are for those who begin one, or where there is nothing else.
    if test -z "$token"; and not string match --quiet -- "-*" $answer[1]
        set answer (string match --invert -- "-*" $answer)
    end
    printf '%s\n' $answer
end

complete --command paas --no-files
complete --command paas --keep-order --arguments '(__paas_answer)' \
    --condition 'not __fish_use_subcommand; or string match --quiet -- "-*" (commandline --current-token)'
@COMMANDS@
