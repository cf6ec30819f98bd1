# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_stream_agent_global_optspecs
    string join \n config= log-level= json print-default-config h/help V/version
end

function __fish_stream_agent_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_stream_agent_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_stream_agent_using_subcommand
    set -l cmd (__fish_stream_agent_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c stream-agent -n "__fish_stream_agent_needs_command" -l config -d 'Read this configuration file, and config.d/*.toml and targets.d/*.toml next to it' -r -F
complete -c stream-agent -n "__fish_stream_agent_needs_command" -l log-level -d 'Set the log level (error, warn, info, debug, trace), or filters as in RUST_LOG' -r
complete -c stream-agent -n "__fish_stream_agent_needs_command" -l json -d 'Print results as JSON, and each error as one line of JSON on standard error'
complete -c stream-agent -n "__fish_stream_agent_needs_command" -l print-default-config -d 'Print the shipped configuration and exit'
complete -c stream-agent -n "__fish_stream_agent_needs_command" -s h -l help -d 'Print help'
complete -c stream-agent -n "__fish_stream_agent_needs_command" -s V -l version -d 'Print version'
complete -c stream-agent -n "__fish_stream_agent_needs_command" -f -a "run" -d 'Run the agent'
complete -c stream-agent -n "__fish_stream_agent_needs_command" -f -a "check-config" -d 'Check the configuration and exit'
complete -c stream-agent -n "__fish_stream_agent_needs_command" -f -a "targets" -d 'List the targets that may be opened'
complete -c stream-agent -n "__fish_stream_agent_needs_command" -f -a "target" -d 'Find, add, remove and show targets'
complete -c stream-agent -n "__fish_stream_agent_needs_command" -f -a "open" -d 'Open the target of one session for the network half, whose connection the service manager passes'
complete -c stream-agent -n "__fish_stream_agent_needs_command" -f -a "cell" -d 'Open one target for the opener, whose connection the service manager passes'
complete -c stream-agent -n "__fish_stream_agent_needs_command" -f -a "test-dial" -d 'Test each step of opening a stream, and print how to fix what fails. Opens no stream and changes nothing'
complete -c stream-agent -n "__fish_stream_agent_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand run" -l opener -d 'Let the opener behind this socket open the targets. Without it, this process opens them' -r -F
complete -c stream-agent -n "__fish_stream_agent_using_subcommand run" -l config -d 'Read this configuration file, and config.d/*.toml and targets.d/*.toml next to it' -r -F
complete -c stream-agent -n "__fish_stream_agent_using_subcommand run" -l log-level -d 'Set the log level (error, warn, info, debug, trace), or filters as in RUST_LOG' -r
complete -c stream-agent -n "__fish_stream_agent_using_subcommand run" -l json
complete -c stream-agent -n "__fish_stream_agent_using_subcommand run" -s h -l help -d 'Print help'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand check-config" -l log-level -r
complete -c stream-agent -n "__fish_stream_agent_using_subcommand check-config" -l config -d 'Read this configuration file, and config.d/*.toml and targets.d/*.toml next to it' -r -F
complete -c stream-agent -n "__fish_stream_agent_using_subcommand check-config" -l configured -d 'Check only whether anything is configured. If not, print the first steps and exit with 1'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand check-config" -l json -d 'Print results as JSON, and each error as one line of JSON on standard error'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand check-config" -s h -l help -d 'Print help'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand targets" -l into -d 'Write the units into this folder' -r -F
complete -c stream-agent -n "__fish_stream_agent_using_subcommand targets" -l log-level -r
complete -c stream-agent -n "__fish_stream_agent_using_subcommand targets" -l config -d 'Read this configuration file, and config.d/*.toml and targets.d/*.toml next to it' -r -F
complete -c stream-agent -n "__fish_stream_agent_using_subcommand targets" -l systemd-dropin -d 'Write a systemd unit for each target that needs more than the others: a group, a device, a user. Run it as root. For an unsplit agent, print a drop-in for stream-agent.service instead'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand targets" -l json -d 'Print results as JSON, and each error as one line of JSON on standard error'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand targets" -s h -l help -d 'Print help'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and not __fish_seen_subcommand_from discover add remove show help" -l log-level -r
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and not __fish_seen_subcommand_from discover add remove show help" -l config -d 'Read this configuration file, and config.d/*.toml and targets.d/*.toml next to it' -r -F
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and not __fish_seen_subcommand_from discover add remove show help" -l json -d 'Print results as JSON, and each error as one line of JSON on standard error'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and not __fish_seen_subcommand_from discover add remove show help" -s h -l help -d 'Print help'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and not __fish_seen_subcommand_from discover add remove show help" -f -a "discover" -d 'List what this host has that is not a target yet, each with the command that adds it. Opens nothing. Run it as root'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and not __fish_seen_subcommand_from discover add remove show help" -f -a "add" -d 'Add a target: writes targets.d/NAME.toml and the target\'s unit, and reloads the service. Open streams go on'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and not __fish_seen_subcommand_from discover add remove show help" -f -a "remove" -d 'Remove a target that `target add` made. Its open streams end, all others go on'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and not __fish_seen_subcommand_from discover add remove show help" -f -a "show" -d 'Show the targets, and where each is defined'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and not __fish_seen_subcommand_from discover add remove show help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and __fish_seen_subcommand_from discover" -l log-level -r
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and __fish_seen_subcommand_from discover" -l config -d 'Read this configuration file, and config.d/*.toml and targets.d/*.toml next to it' -r -F
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and __fish_seen_subcommand_from discover" -l json -d 'Print results as JSON, and each error as one line of JSON on standard error'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and __fish_seen_subcommand_from discover" -s h -l help -d 'Print help'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and __fish_seen_subcommand_from add" -l title -d 'A title for people' -r
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and __fish_seen_subcommand_from add" -l log-level -r
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and __fish_seen_subcommand_from add" -l config -d 'Read this configuration file, and config.d/*.toml and targets.d/*.toml next to it' -r -F
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and __fish_seen_subcommand_from add" -l dry-run -d 'Print what would be done, and change nothing'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and __fish_seen_subcommand_from add" -l no-reload -d 'Change the file only: neither units nor the service'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and __fish_seen_subcommand_from add" -l json
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and __fish_seen_subcommand_from remove" -l log-level -r
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and __fish_seen_subcommand_from remove" -l config -d 'Read this configuration file, and config.d/*.toml and targets.d/*.toml next to it' -r -F
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and __fish_seen_subcommand_from remove" -l dry-run -d 'Print what would be done, and change nothing'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and __fish_seen_subcommand_from remove" -l no-reload -d 'Change the file only: neither units nor the service'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and __fish_seen_subcommand_from remove" -l json
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and __fish_seen_subcommand_from show" -l log-level -r
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and __fish_seen_subcommand_from show" -l config -d 'Read this configuration file, and config.d/*.toml and targets.d/*.toml next to it' -r -F
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and __fish_seen_subcommand_from show" -l json -d 'Print results as JSON, and each error as one line of JSON on standard error'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and __fish_seen_subcommand_from help" -f -a "discover" -d 'List what this host has that is not a target yet, each with the command that adds it. Opens nothing. Run it as root'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and __fish_seen_subcommand_from help" -f -a "add" -d 'Add a target: writes targets.d/NAME.toml and the target\'s unit, and reloads the service. Open streams go on'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Remove a target that `target add` made. Its open streams end, all others go on'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show the targets, and where each is defined'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand target; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand open" -l runtime -d 'The folder with the sockets of cells' -r -F
complete -c stream-agent -n "__fish_stream_agent_using_subcommand open" -l seen -d 'The folder of the sessions that have begun' -r -F
complete -c stream-agent -n "__fish_stream_agent_using_subcommand open" -l config -d 'Read this configuration file, and config.d/*.toml and targets.d/*.toml next to it' -r -F
complete -c stream-agent -n "__fish_stream_agent_using_subcommand open" -l log-level -d 'Set the log level (error, warn, info, debug, trace), or filters as in RUST_LOG' -r
complete -c stream-agent -n "__fish_stream_agent_using_subcommand open" -l json
complete -c stream-agent -n "__fish_stream_agent_using_subcommand open" -s h -l help -d 'Print help'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand cell" -l config -d 'Read this configuration file, and config.d/*.toml and targets.d/*.toml next to it' -r -F
complete -c stream-agent -n "__fish_stream_agent_using_subcommand cell" -l log-level -d 'Set the log level (error, warn, info, debug, trace), or filters as in RUST_LOG' -r
complete -c stream-agent -n "__fish_stream_agent_using_subcommand cell" -l json
complete -c stream-agent -n "__fish_stream_agent_using_subcommand cell" -s h -l help -d 'Print help'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand test-dial" -l target -d 'Test only this target' -r
complete -c stream-agent -n "__fish_stream_agent_using_subcommand test-dial" -l log-level -r
complete -c stream-agent -n "__fish_stream_agent_using_subcommand test-dial" -l config -d 'Read this configuration file, and config.d/*.toml and targets.d/*.toml next to it' -r -F
complete -c stream-agent -n "__fish_stream_agent_using_subcommand test-dial" -l json -d 'Print results as JSON, and each error as one line of JSON on standard error'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand test-dial" -s h -l help -d 'Print help'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand help; and not __fish_seen_subcommand_from run check-config targets target open cell test-dial help" -f -a "run" -d 'Run the agent'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand help; and not __fish_seen_subcommand_from run check-config targets target open cell test-dial help" -f -a "check-config" -d 'Check the configuration and exit'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand help; and not __fish_seen_subcommand_from run check-config targets target open cell test-dial help" -f -a "targets" -d 'List the targets that may be opened'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand help; and not __fish_seen_subcommand_from run check-config targets target open cell test-dial help" -f -a "target" -d 'Find, add, remove and show targets'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand help; and not __fish_seen_subcommand_from run check-config targets target open cell test-dial help" -f -a "open" -d 'Open the target of one session for the network half, whose connection the service manager passes'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand help; and not __fish_seen_subcommand_from run check-config targets target open cell test-dial help" -f -a "cell" -d 'Open one target for the opener, whose connection the service manager passes'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand help; and not __fish_seen_subcommand_from run check-config targets target open cell test-dial help" -f -a "test-dial" -d 'Test each step of opening a stream, and print how to fix what fails. Opens no stream and changes nothing'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand help; and not __fish_seen_subcommand_from run check-config targets target open cell test-dial help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand help; and __fish_seen_subcommand_from target" -f -a "discover" -d 'List what this host has that is not a target yet, each with the command that adds it. Opens nothing. Run it as root'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand help; and __fish_seen_subcommand_from target" -f -a "add" -d 'Add a target: writes targets.d/NAME.toml and the target\'s unit, and reloads the service. Open streams go on'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand help; and __fish_seen_subcommand_from target" -f -a "remove" -d 'Remove a target that `target add` made. Its open streams end, all others go on'
complete -c stream-agent -n "__fish_stream_agent_using_subcommand help; and __fish_seen_subcommand_from target" -f -a "show" -d 'Show the targets, and where each is defined'
